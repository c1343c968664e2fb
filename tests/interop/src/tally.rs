//! Who logged what: every foreign peer's envelopes and messages by payload and by hash, and whether each came where it had to, once, under
//! one name.

use crate::crossing::Faults;
use crate::js_peer::JsPeer;
use crate::process::{Process, is, number, text};
use crate::status_peer::{Envelope, Opened, StatusPeer};
use crate::waku_peer::{Message, WakuPeer};
use anyhow::Result;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The two networks; within one, all peers give a payload the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    V0,
    V2,
}

/// Once something was sent, or came: its sealed bytes by their SHA-256, and what the network calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sighting {
    /// SHA-256 of the bytes that cross unchanged.
    payload: String,
    /// An envelope's hash, or a message's.
    hash: String,
    /// Gossip's id of the message, which is of all its bytes; empty where there is none.
    id: String,
    /// The peer that brought it, where that is logged.
    from: String,
    at_ms: u64,
}

/// Arrivals of one envelope from two peers so close, in milliseconds, may both be given to the application: status-go looks whether it has
/// an envelope, and takes it, in two steps (`addAndBridge` in its waku/waku.go), and each peer has a task of its own. An arrival is logged
/// with its packet, whose envelopes are looked at one after the other.
const AT_ONCE_MS: u64 = 2_000;

/// All that one foreign peer logged.
#[derive(Debug)]
pub(crate) struct Account {
    name: String,
    network: Network,
    sent: Vec<Sighting>,
    /// What came on the wire. Envelopes may do so from several peers.
    came: Vec<Sighting>,
    /// What its software gave to its application, by hash.
    delivered: Vec<String>,
}

impl Account {
    /// Reads that of a status-go peer, which opens everything.
    pub(crate) fn of_status(peer: &StatusPeer) -> Self {
        let named = |name| read(peer.process(), |event| envelope(event, name));
        let delivered = read(peer.process(), |event| Opened::of(event).map(|opened| opened.hash));
        Self::new(peer.process(), Network::V0, named("sent"), named("envelope-arrived"), delivered)
    }

    /// Reads that of a go-waku peer.
    pub(crate) fn of_waku(peer: &WakuPeer) -> Self {
        let sent = |event: &Value| Message::published(event).map(|message| of_go(event, message));
        let came = |event: &Value| Message::arrived(event).map(|message| of_go(event, message));
        let (sent, came) = (read(peer.process(), sent), read(peer.process(), came));
        let delivered = came.iter().map(|one: &Sighting| one.hash.clone()).collect();
        Self::new(peer.process(), Network::V2, sent, came, delivered)
    }

    /// Reads that of a js-waku peer.
    pub(crate) fn of_js(peer: &JsPeer) -> Self {
        let sent = read(peer.process(), |event| of_js(event, "reply"));
        let came = read(peer.process(), |event| of_js(event, "message"));
        let delivered = came.iter().map(|one: &Sighting| one.hash.clone()).collect();
        Self::new(peer.process(), Network::V2, sent, came, delivered)
    }

    fn new(peer: &Process, network: Network, sent: Vec<Sighting>, came: Vec<Sighting>, delivered: Vec<String>) -> Self {
        Self { name: peer.name().to_owned(), network, sent, came, delivered }
    }
}

impl Account {
    /// Did two peers bring this envelope at the same moment?
    fn was_brought_at_once(&self, payload: &str) -> bool {
        let mut arrivals: Vec<&Sighting> =
            self.came.iter().filter(|one| self.network == Network::V0 && one.payload == payload).collect();
        arrivals.sort_by_key(|one| one.at_ms);
        arrivals.windows(2).any(|pair| pair[1].at_ms - pair[0].at_ms <= AT_ONCE_MS && pair[0].from != pair[1].from)
    }
}

fn read<T>(process: &Process, pick: impl Fn(&Value) -> Option<T>) -> Vec<T> {
    process.log().since(0).iter().filter_map(|event| pick(event)).collect()
}

fn envelope(event: &Value, name: &str) -> Option<Sighting> {
    let Envelope { hash, data_sha256, at_ms, .. } = Envelope::of(event, name)?;
    let from = text(event, "peer").to_owned();
    Some(Sighting { payload: data_sha256, hash, id: String::new(), from, at_ms })
}

fn of_go(event: &Value, message: Message) -> Sighting {
    let id = text(event, "gossip_id").to_owned();
    Sighting { payload: message.payload_sha256, hash: message.hash, id, from: String::new(), at_ms: message.at_ms }
}

fn of_js(event: &Value, name: &str) -> Option<Sighting> {
    let field = |name: &str| text(event, name).to_owned();
    let payload = field("payloadSha256");
    let at_ms = number(event, "t")?;
    let is_one = is(event, name) && !payload.is_empty();
    is_one.then(|| Sighting { payload, hash: field("hash"), id: field("gossipId"), from: String::new(), at_ms })
}

/// What was sent by all, and what it is called in each network.
#[derive(Debug, Default)]
struct Names<'a> {
    hashes: BTreeMap<&'a str, BTreeSet<&'a str>>,
    ids: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Names<'a> {
    fn of(network: Network, accounts: &'a [Account]) -> Self {
        let mut names = Self::default();
        for one in accounts.iter().filter(|a| a.network == network).flat_map(|a| a.sent.iter().chain(&a.came)) {
            names.hashes.entry(&one.payload).or_default().insert(&one.hash);
            if !one.id.is_empty() {
                names.ids.entry(&one.payload).or_default().insert(&one.id);
            }
        }
        names
    }

    fn judge(&self, sent: &BTreeMap<&str, &str>, faults: &mut Faults) {
        for (payload, hashes) in self.hashes.iter().chain(&self.ids) {
            faults.expect(hashes.len() == 1, || format!("the payload {payload} is under {hashes:?}"));
            faults.expect(sent.contains_key(payload), || format!("nobody sent the payload {payload}"));
        }
    }

    fn hash(&self, payload: &str) -> Option<&'a str> {
        self.hashes.get(payload)?.first().copied()
    }
}

/// What was seen if nothing was wrong.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Distinct payloads that each peer was brought of the other network, the fewest of any.
    pub(crate) across: usize,
    /// The same from its own network.
    pub(crate) within: usize,
    /// Payloads that a status-go peer gave twice because two peers brought them at once.
    pub(crate) at_once: usize,
    /// Milliseconds from sent to the first arrival at each peer of the other network, in order.
    pub(crate) delays_ms: Vec<u64>,
}

/// Judges all accounts together: `sent` payloads of each network. Each must have come to each peer but its sender, been delivered there
/// once, and be called the same in all logs of a network.
///
/// # Errors
/// All that was lost, doubled, invented, or called by two names.
pub(crate) fn judge(accounts: &[Account], sent_each_way: usize) -> Result<Seen> {
    let mut faults = Faults::default();
    let sent: BTreeMap<&str, &str> =
        accounts.iter().flat_map(|a| a.sent.iter().map(|one| (one.payload.as_str(), a.name.as_str()))).collect();
    for network in [Network::V0, Network::V2] {
        let here = accounts.iter().filter(|a| a.network == network).flat_map(|a| &a.sent);
        let distinct = here.map(|one| &one.payload).collect::<BTreeSet<_>>().len();
        faults.expect(distinct == sent_each_way, || {
            format!("{distinct} payloads were sent from {network:?}, not {sent_each_way}")
        });
        Names::of(network, accounts).judge(&sent, &mut faults);
    }
    let (mut across, mut within, mut at_once) = (usize::MAX, usize::MAX, 0);
    for account in accounts {
        let names = Names::of(account.network, accounts);
        let mut brought = BTreeSet::new();
        for (payload, sender) in &sent {
            if *sender != account.name && is_delivered_once(account, payload, &names, &mut at_once, &mut faults) {
                brought.insert(*payload);
            }
        }
        let is_ours = |payload: &&&str| {
            accounts.iter().any(|a| a.network == account.network && a.sent.iter().any(|one| one.payload == **payload))
        };
        let ours = brought.iter().filter(is_ours).count();
        (across, within) = (across.min(brought.len() - ours), within.min(ours));
    }
    faults.verdict(Seen { across, within, at_once, delays_ms: delays(accounts) })
}

fn is_delivered_once(
    account: &Account,
    payload: &str,
    names: &Names<'_>,
    at_once: &mut usize,
    faults: &mut Faults,
) -> bool {
    let name = &account.name;
    let Some(hash) = names.hash(payload).filter(|_| account.came.iter().any(|one| one.payload == payload)) else {
        faults.note(|| format!("{name} missed the payload {payload}"));
        return false;
    };
    let times = account.delivered.iter().filter(|delivered| *delivered == hash).count();
    if times == 2 && account.was_brought_at_once(payload) {
        *at_once += 1;
        return true;
    }
    faults.expect(times == 1, || format!("{name} was given {hash} {times} times (payload {payload})"));
    times == 1
}

fn delays(accounts: &[Account]) -> Vec<u64> {
    let mut first: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for account in accounts {
        for one in account.came.iter() {
            let at = first.entry((&one.payload, &account.name)).or_insert(one.at_ms);
            *at = one.at_ms.min(*at);
        }
    }
    let mut delays = Vec::new();
    for (from, one) in accounts.iter().flat_map(|a| a.sent.iter().map(move |one| (a, one))) {
        let others = accounts.iter().filter(|a| a.network != from.network);
        let arrivals = others.filter_map(|to| first.get(&(one.payload.as_str(), to.name.as_str())));
        delays.extend(arrivals.map(|at| at.saturating_sub(one.at_ms)));
    }
    delays.sort_unstable();
    delays
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sighting(payload: &str, hash: &str, at_ms: u64) -> Sighting {
        let (payload, hash, id) = (payload.to_owned(), hash.to_owned(), format!("id of {hash}"));
        Sighting { payload, hash, id, from: "one".to_owned(), at_ms }
    }

    /// Two peers of two networks; each has sent one payload, which the other was given.
    fn well() -> Vec<Account> {
        let one = |name: &str, network, sent, came: Sighting| Account {
            name: name.to_owned(),
            network,
            sent: vec![sent],
            delivered: vec![came.hash.clone()],
            came: vec![came],
        };
        let v0 = one("status-go", Network::V0, sighting("p", "e1", 10), sighting("q", "e2", 60));
        let v2 = one("go-waku", Network::V2, sighting("q", "m2", 20), sighting("p", "m1", 30));
        vec![v0, v2]
    }

    #[test]
    fn what_came_once_under_one_name_passes() {
        let seen = judge(&well(), 1).unwrap();
        assert_eq!((seen.across, seen.within, seen.delays_ms), (1, 0, vec![20, 40]));
        let mut twice_on_the_wire = well();
        twice_on_the_wire[0].came.push(sighting("q", "e2", 61));
        assert!(judge(&twice_on_the_wire, 1).is_ok());
    }

    #[test]
    fn loss_doubles_inventions_and_second_names_are_found() {
        let with = |change: &dyn Fn(&mut Vec<Account>)| {
            let mut accounts = well();
            change(&mut accounts);
            judge(&accounts, 1).unwrap_err().to_string()
        };
        let lost = with(&|a| (a[0].came, a[0].delivered) = (vec![], vec![]));
        assert!(lost.contains("status-go missed the payload q"), "{lost}");
        let doubled = with(&|a| a[1].delivered.push("m1".to_owned()));
        assert!(doubled.contains("go-waku was given m1 2 times"), "{doubled}");
        let unopened = with(&|a| a[0].delivered.clear());
        assert!(unopened.contains("status-go was given e2 0 times"), "{unopened}");
        let invented = with(&|a| a[1].came.push(sighting("r", "m3", 30)));
        assert!(invented.contains("nobody sent the payload r"), "{invented}");
        let renamed = with(&|a| a[0].came.push(sighting("q", "e3", 70)));
        assert!(renamed.contains("the payload q is under {\"e2\", \"e3\"}"), "{renamed}");
        let recoded = with(&|a| a[1].came.push(Sighting { id: "another".to_owned(), ..sighting("p", "m1", 31) }));
        assert!(recoded.contains("the payload p is under {\"another\", \"id of m1\"}"), "{recoded}");
        let unsent = with(&|a| a[1].sent.clear());
        assert!(unsent.contains("0 payloads were sent from V2"), "{unsent}");
    }

    #[test]
    fn an_envelope_that_two_peers_bring_at_once_may_be_given_twice() {
        let twice = |from: &str, at_ms| {
            let mut accounts = well();
            accounts[0].delivered.push("e2".to_owned());
            accounts[0].came.push(Sighting { from: from.to_owned(), ..sighting("q", "e2", at_ms) });
            judge(&accounts, 1).map(|seen| (seen.across, seen.at_once))
        };
        assert_eq!(twice("another", 60 + AT_ONCE_MS).unwrap(), (1, 1));
        assert!(twice("another", 61 + AT_ONCE_MS).is_err(), "later it was known");
        assert!(twice("one", 61).is_err(), "a peer brings one after the other");
        let mut thrice = well();
        thrice[0].delivered.extend(["e2".to_owned(), "e2".to_owned()]);
        thrice[0].came.push(Sighting { from: "another".to_owned(), ..sighting("q", "e2", 61) });
        assert!(judge(&thrice, 1).is_err());
    }

    #[test]
    fn what_comes_back_under_another_name_is_found() {
        let mut accounts = well();
        accounts[1].came.push(sighting("q", "m9", 90));
        let error = judge(&accounts, 1).unwrap_err().to_string();
        assert!(error.contains("the payload q is under"), "{error}");
    }
}
