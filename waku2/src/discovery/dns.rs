//! Nodes listed in DNS, as peers.  Spec: EIP-1459, as 64/WAKU2-NETWORK uses it.
//!
//! `devp2p::dnsdisc` reads and verifies the lists; here records become [`Node`]s. Their limits are its own; the two queues between have
//! the rooms below. Nothing runs without a list.

use devp2p::{
    dnsdisc::{self, Client, Config, StartError},
    enr::Enr,
};
use tokio::{sync::mpsc, task::JoinHandle};
use tracing::debug;

use super::enr::Node;
use crate::shard::ClusterId;

/// Room of the queue of found nodes that [`crate::seek`] makes. What finds it full is left out.
pub const FOUND: usize = 256;

/// Records between the list's reader and the task that reads them; the reader leaves out what finds it full.
const RECORDS: usize = dnsdisc::resolve::MAX_ENTRIES;

/// What a list is worth to a node of `own` cluster: somebody who can be called, and is not known to be of another network. Lists say
/// what their maker chose, so that a record without shards is one to try.
#[must_use]
pub fn peer(own: ClusterId, record: Enr) -> Option<Node> {
    let node = Node::read(record)?;
    let fits = node.cluster().is_none_or(|cluster| cluster == own);
    (fits && !node.addrs.is_empty()).then_some(node)
}

/// Follows the lists of `config`; whom they name goes to `found`. It ends when the returned client is shut down or dropped.
///
/// # Errors
/// When the DNS library refuses its configuration.
pub fn start(
    config: Config,
    own: ClusterId,
    found: mpsc::Sender<Node>,
) -> Result<(Client, JoinHandle<()>), StartError> {
    let (records, inbox) = mpsc::channel(RECORDS);
    let client = Client::start(config, records)?;
    Ok((client, tokio::spawn(pass_on(inbox, own, found))))
}

async fn pass_on(mut records: mpsc::Receiver<Enr>, own: ClusterId, found: mpsc::Sender<Node>) {
    while let Some(record) = records.recv().await {
        match peer(own, record) {
            // Waits: a list comes once, and its reader is not in a hurry.
            Some(node) => {
                if found.send(node).await.is_err() {
                    return;
                }
            }
            None => debug!("a listed node of no use"),
        }
    }
}

#[cfg(test)]
mod tests {
    use devp2p::{
        NodeKey,
        enr::{self, Endpoint},
    };

    use super::*;
    use crate::discovery::enr::{Description, RelayShards, Services};

    fn record(shards: Option<(u16, u16)>, tcp: Option<u16>) -> Enr {
        let shards = shards.map(|(cluster, shard)| RelayShards::new(ClusterId(cluster), [shard]).unwrap());
        let endpoint = Endpoint { ip: Some([1, 2, 3, 4].into()), tcp, udp: Some(9_000) };
        let description = Description { endpoint, services: Services::RELAY, shards, ..Description::default() };
        description.sign(&NodeKey::from_bytes(&[7; 32]).unwrap(), 1).unwrap()
    }

    fn is_peer(record: Enr) -> bool {
        peer(ClusterId(1), record).is_some()
    }

    #[test]
    fn who_is_worth_a_call() {
        assert!(is_peer(record(Some((1, 3)), Some(1))), "whichever its shards");
        assert!(is_peer(record(None, Some(1))));
        assert!(!is_peer(record(Some((16, 3)), Some(1))), "another network");
        assert!(!is_peer(record(Some((1, 3)), None)), "nowhere to call");
    }

    #[test]
    fn records_of_js_wakus_own_test_data() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/dns/jswaku.json");
        let file: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let node = |name: &str| {
            let record = file["dns"][name].as_str().or_else(|| file["enr"][name].as_str());
            enr::parse(record.unwrap()).ok().and_then(|record| peer(ClusterId(1), record))
        };
        let both = node("enrWithWaku2RelayStore").unwrap();
        let addrs: Vec<String> = both.addrs.iter().map(ToString::to_string).collect();
        let id = both.peer;
        assert_eq!(
            addrs,
            [format!("/ip4/192.168.178.251/tcp/8002/p2p/{id}"), format!("/ip4/192.168.178.251/tcp/8002/ws/p2p/{id}")]
        );
        assert_eq!(both.services, Services::RELAY.and(Services::STORE));
        assert_eq!(node("enrWithWaku2Relay").unwrap().services, Services::RELAY);
        assert_eq!(node("enrWithWaku2Store"), None, "it says 0.0.0.0");
    }

    #[tokio::test]
    async fn records_in_nodes_out() {
        let ((records, inbox), (found, mut nodes)) = (mpsc::channel(4), mpsc::channel(4));
        for record in [record(Some((16, 3)), Some(1)), record(Some((1, 3)), Some(7))] {
            records.send(record).await.unwrap();
        }
        drop(records);
        pass_on(inbox, ClusterId(1), found).await;
        assert!(nodes.recv().await.unwrap().addrs[0].to_string().starts_with("/ip4/1.2.3.4/tcp/7/p2p/16Uiu2HA"));
        assert!(nodes.recv().await.is_none());
    }
}
