//! What must hold between the bridge and peers that nobody wrote for it, one scenario a function.

mod archive;
mod browser;
mod browser_services;
mod crossing;
mod cut_off;
mod discovery;
mod filter;
mod gossip;
mod history;
mod js_waku;
mod json_rpc;
mod lightpush;
mod limits;
mod mailserver;
mod membership;
mod mesh;
mod odd_peers;
mod peers;
mod program;
mod proofs;
mod rest;
mod rln_network;
mod round_trip;
mod store;
mod sync;
mod two_bridges;
mod versions;
mod waku_discovery;

use crate::causeway::Causeway;
use crate::geth_peer::GethPeer;
use crate::js_peer::JsPeer;
use crate::programs::Programs;
use crate::status_peer::StatusPeer;
use crate::waku_peer::WakuPeer;
use anyhow::{Context as _, Result};
use std::path::PathBuf;
use tempfile::TempDir;

/// What a scenario works with.
#[derive(Debug)]
pub(crate) struct Lab {
    programs: Programs,
    /// Payloads each way in `crossing` and `two-bridges`; the others scale from it.
    pub(crate) messages: usize,
    folder: TempDir,
}

/// A named scenario. It passes with a remark for the table, or fails with what was seen.
pub(crate) struct Scenario {
    /// What `--only` takes.
    pub(crate) name: &'static str,
    /// What must hold.
    pub(crate) claim: &'static str,
    /// Whether it may run beside others that may: it mostly waits, and measures nothing.
    pub(crate) beside: bool,
    /// Runs it.
    pub(crate) run: fn(&Lab) -> Result<String>,
}

/// All scenarios, in the order in which they run.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "peers",
        claim: "without the bridge: each peer hears its own kind, and opens what the other's library sealed",
        beside: false,
        run: peers::between_themselves,
    },
    Scenario {
        name: "program",
        claim: "banner, health, readiness, metrics, kept node key, SIGTERM, wrong flags, demo",
        beside: false,
        run: program::as_an_operator_meets_it,
    },
    Scenario {
        name: "archive-postgres",
        claim: "PostgreSQL keeps to the archive's contract, also for several nodes at once and when connections fall",
        beside: false,
        run: archive::in_postgres,
    },
    Scenario {
        name: "archive-postgres-tls",
        claim: "the same over TLS, of a PostgreSQL that takes nothing else, at a certificate that is looked at",
        beside: false,
        run: archive::in_secure_postgres,
    },
    Scenario {
        name: "crossing",
        claim: "we dial both peers: all payloads cross exactly once, both ways, 1 B to 100 KiB, and none comes back",
        beside: false,
        run: crossing::dialling,
    },
    Scenario { name: "dialled", claim: "the same when both peers dial us", beside: false, run: crossing::dialled },
    Scenario {
        name: "handed-over",
        claim: "the same when the bridge hands what crosses to a go-waku, which publishes it by lightpush",
        beside: false,
        run: crossing::handed_over,
    },
    Scenario {
        name: "two-bridges-parallel",
        claim: "two bridges between the same two networks: still exactly once, and no echo",
        beside: false,
        run: crossing::two_bridges,
    },
    Scenario {
        name: "two-bridges",
        claim: "the same with four peers, 1 B to 140 KiB, while one of the bridges is killed every 10 s: each log has all, once, under one hash",
        beside: false,
        run: two_bridges::killed_in_turns,
    },
    Scenario {
        name: "round-trip-envelope",
        claim: "v0 - bridge - v2 - bridge - v0: the same envelope, hash for hash, without mining",
        beside: false,
        run: round_trip::envelope,
    },
    Scenario {
        name: "round-trip-message",
        claim: "v2 - bridge - v0 - bridge - v2, with --restore-tagged: the same message hash",
        beside: false,
        run: round_trip::message,
    },
    Scenario {
        name: "odd-peers",
        claim: "another cluster is left; confirmations do no harm; topic interest gets its topics alone",
        beside: false,
        run: odd_peers::live_beside_others,
    },
    Scenario {
        name: "js-waku",
        claim: "js-waku over ws by mplex and by yamux, and go-waku over tcp, exchange through us: each message once",
        beside: false,
        run: js_waku::through_us,
    },
    Scenario {
        name: "cut-off",
        claim: "after a minute of silence on all lines, and after all peers and the bridge have gone, both sides meet again and each crosses once",
        beside: true,
        run: cut_off::from_all_peers,
    },
    Scenario {
        name: "late-joiners",
        claim: "go-waku and js-waku peers that come to a running mesh, or to the shard, are soon in it; one leaves",
        beside: true,
        run: mesh::late_joiners,
    },
    Scenario {
        name: "other-cluster",
        claim: "go-waku, a js-libp2p relay and js-waku's light client of another cluster are left, and hear nothing",
        beside: true,
        run: mesh::other_cluster,
    },
    Scenario {
        name: "browser",
        claim: "js-waku in two pages of Chromium, by yamux and by mplex, and go-waku: each reads the others' messages once",
        beside: true,
        run: browser::pages,
    },
    Scenario {
        name: "browser-services",
        claim: "js-waku in two pages of Chromium, by yamux and by mplex: lightpush, filter and store, each message once; refusals by number",
        beside: true,
        run: browser_services::pages,
    },
    Scenario {
        name: "discovery",
        claim: "go-ethereum finds us over UDP and we its nodes; it reads lists that we sign, and we those that it signs",
        beside: true,
        run: discovery::both_ways,
    },
    Scenario {
        name: "waku-discovery",
        claim: "discv5: go-waku finds us and we it; whoever is on other shards is not called until it joins ours",
        beside: true,
        run: waku_discovery::over_udp,
    },
    Scenario {
        name: "peer-exchange",
        claim: "we call whom go-waku tells us of, and tell go-waku of whom we found",
        beside: true,
        run: waku_discovery::by_asking,
    },
    Scenario {
        name: "gossip",
        claim: "full peers that meet only in us: 500 envelopes of mixed sizes each way, once each, and none comes back",
        beside: true,
        run: gossip::both_ways,
    },
    Scenario {
        name: "min-pow",
        claim: "a peer gets what has the work that it asks for, and nothing below, also after it asks for more",
        beside: true,
        run: gossip::min_pow,
    },
    Scenario {
        name: "bloom",
        claim: "a peer gets what its bloom filter lets through, and after a change what the new one does",
        beside: true,
        run: gossip::bloom,
    },
    Scenario {
        name: "topics",
        claim: "a peer gets its topics, after a change its new ones, and with an empty list nothing",
        beside: true,
        run: gossip::topics,
    },
    Scenario {
        name: "light",
        claim: "a light peer is kept, gets what it wants, and may relay",
        beside: true,
        run: gossip::light,
    },
    Scenario {
        name: "confirming",
        claim: "acknowledgements, both ways: read, given when announced, and not otherwise; our own post ends as acknowledged",
        beside: true,
        run: gossip::confirming,
    },
    Scenario {
        name: "whisper",
        claim: "go-ethereum's Whisper and status-go meet in us: what each wants, by floor and filter, and no bad envelope for Whisper",
        beside: true,
        run: versions::whisper,
    },
    Scenario {
        name: "told-whisper",
        claim: "Whisper goes by our floor, and by what we ask for after our routes have changed",
        beside: true,
        run: versions::told_whisper,
    },
    Scenario {
        name: "whisper-sync",
        claim: "status-go's mail server of Whisper asks ours for what it lacks, once it is trusted, and ours has it of that one again",
        beside: true,
        run: sync::with_status_go,
    },
    Scenario {
        name: "waku1",
        claim: "status-go that offers waku/1, waku/0, or both: the highest is spoken, and all hear each other",
        beside: true,
        run: versions::waku_1,
    },
    Scenario {
        name: "json-rpc",
        claim: "a stock web3 client posts and hears by HTTP, WebSocket and Unix socket what status-go hears and posts, and has it from status-go's archive",
        beside: true,
        run: json_rpc::from_web3,
    },
    Scenario {
        name: "rest-scripts",
        claim: "a script of curl, as written for nwaku: health, version, peers, publish, poll, history, with go-waku beyond us",
        beside: true,
        run: rest::by_a_script,
    },
    Scenario {
        name: "flooded",
        claim: "a peer that sends too much, or too much rubbish, is left with 0x10; the others notice nothing",
        beside: true,
        run: limits::flooded,
    },
    Scenario {
        name: "mailserver",
        claim: "status-go asks our mailserver: both forms, both keys, limit, cursor, wrong password, both orders, after a restart too",
        beside: true,
        run: mailserver::asked_by_status_go,
    },
    Scenario {
        name: "mailserver-postgres",
        claim: "two of our mailservers on one PostgreSQL: each envelope is kept once, and a cursor of one leads on at the other",
        beside: true,
        run: mailserver::two_on_one_database,
    },
    Scenario {
        name: "history",
        claim: "`history` asks status-go's mail servers: pages, cursors, wrong passwords, a kill, a server that dies",
        beside: true,
        run: history::asked_of_status_go,
    },
    Scenario {
        name: "backfill",
        claim: "a bridge fills its archive from status-go's mail server, and status-go's client has it from us",
        beside: true,
        run: history::filled_from_status_go,
    },
    Scenario {
        name: "import",
        claim: "`import` takes the LevelDB that a status-go mail server wrote, killed or stopped; `export` gives the same",
        beside: true,
        run: history::imported_from_status_go,
    },
    Scenario {
        name: "filter",
        claim: "we push to js-waku by mplex and by yamux, and to go-waku by both generations: each message once, refusals by number",
        beside: true,
        run: filter::through_us,
    },
    Scenario {
        name: "filter-client",
        claim: "go-waku pushes to our client, by filter v2 and by the first filter: each message once",
        beside: true,
        run: filter::through_go_waku,
    },
    Scenario {
        name: "lightpush",
        claim: "js-waku by 3.0.0 and beta1 and go-waku by beta1 push through us: each message once, no success without a peer",
        beside: true,
        run: lightpush::through_us,
    },
    Scenario {
        name: "lightpush-client",
        claim: "our client pushes through go-waku, which has beta1 alone: each message once, and no success without a peer",
        beside: true,
        run: lightpush::through_go_waku,
    },
    Scenario {
        name: "store",
        claim: "js-waku (3.0.0) and go-waku (2.0.0-beta4) page through our history from either end, hash for hash; what makes no sense is refused",
        beside: true,
        run: store::asked_by_others,
    },
    Scenario {
        name: "store-client",
        claim: "`history` pages through what go-waku keeps (2.0.0-beta4): all of it, one topic, and the first few",
        beside: true,
        run: store::asked_of_go_waku,
    },
    Scenario {
        name: "membership",
        claim: "at a chain with both contracts: members register, roots and paths are followed over a reorganisation and a restart",
        beside: true,
        run: membership::at_a_chain,
    },
    Scenario {
        name: "proofs",
        claim: "an earlier release of the reference library, its WebAssembly build and we make the same rate-limit proofs, take each other's, and no changed one",
        beside: true,
        run: proofs::proofs,
    },
    Scenario {
        name: "rln-network",
        claim: "the program alone: who registers is heard with proofs, within its rate and over 20 kills; nobody else is; a bridge keeps for mail what is beyond it",
        beside: false,
        run: rln_network::by_the_program,
    },
    Scenario {
        name: "rate-limited",
        claim: "a peer that takes 5 packets a second gets 2,000 envelopes without ever seeing a sixth",
        beside: false,
        run: limits::rate_limited,
    },
];

impl Lab {
    /// A lab with a folder of its own for all data directories.
    ///
    /// # Errors
    /// When there is no temporary folder.
    pub(crate) fn new(programs: Programs, messages: usize) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("causeway-interop-").tempdir().context("temporary folder")?;
        Ok(Self { programs, messages, folder })
    }

    /// The programs.
    pub(crate) const fn programs(&self) -> &Programs {
        &self.programs
    }

    /// The data directory of a bridge of this name; the same name is the same directory.
    pub(crate) fn data_dir(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a status-go peer.
    ///
    /// # Errors
    /// When it does not start: a failure, not a skip.
    pub(crate) fn status(&self, name: &str, flags: &[&str]) -> Result<StatusPeer> {
        StatusPeer::start(&self.programs.status_go, name, flags)
    }

    /// Starts a Whisper peer of go-ethereum that dials a node; it says and understands what a status-go peer does.
    ///
    /// # Errors
    /// When they do not come together.
    pub(crate) fn whisper_at(&self, node: &Causeway, name: &str, flags: &[&str]) -> Result<StatusPeer> {
        let flags = [&["-dial", node.enode()], flags].concat();
        let peer = StatusPeer::start(&self.programs.whisper, name, &flags)?;
        peer.await_session(node.enode())?;
        Ok(peer)
    }

    /// Starts go-ethereum's discovery.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn geth(&self, name: &str, flags: &[&str]) -> Result<GethPeer> {
        GethPeer::start(&self.programs.geth_disc, name, flags)
    }

    /// Starts a go-waku peer.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn waku(&self, name: &str, flags: &[&str]) -> Result<WakuPeer> {
        WakuPeer::start(&self.programs.go_waku, name, flags)
    }

    /// Starts a js-waku peer.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn js(&self, name: &str, flags: &[&str]) -> Result<JsPeer> {
        JsPeer::start(&self.programs.js_waku, name, flags)
    }

    /// Starts a bridge.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn bridge(&self, name: &str, flags: &[&str]) -> Result<Causeway> {
        Causeway::start(&self.programs.causeway, name, &self.data_dir(name), flags)
    }

    /// Starts a node of the Waku Network alone, in a data directory of that name.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn node(&self, name: &str, flags: &[&str]) -> Result<Causeway> {
        Causeway::node(&self.programs.causeway, name, &self.data_dir(name), flags)
    }

    /// Starts a mailserver, in a data directory of that name.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn mailserver(&self, name: &str, flags: &[&str]) -> Result<Causeway> {
        Causeway::mailserver(&self.programs.causeway, name, &self.data_dir(name), flags)
    }

    /// Starts a bridge that dials these two peers, and waits until each has it as a peer.
    ///
    /// # Errors
    /// When they do not come together.
    pub(crate) fn bridge_between(
        &self,
        name: &str,
        v0: &StatusPeer,
        v2: &WakuPeer,
        flags: &[&str],
    ) -> Result<Causeway> {
        let mut all = vec!["--staticnode-v1", v0.enode(), "--staticnode-v2", v2.multiaddr()];
        all.extend(flags);
        let bridge = self.bridge(name, &all)?;
        join(&bridge, v0, v2)?;
        Ok(bridge)
    }

    /// Starts a node that only relays envelopes: it bridges none, and dials these peers.
    ///
    /// # Errors
    /// When they do not come together.
    pub(crate) fn relay(&self, name: &str, peers: &[&StatusPeer], flags: &[&str]) -> Result<Causeway> {
        let dialled = peers.iter().flat_map(|peer| ["--staticnode-v1", peer.enode()]);
        let all: Vec<&str> = dialled.chain(["--bridge-direction=v2-to-v1"]).chain(flags.iter().copied()).collect();
        let node = self.bridge(name, &all)?;
        peers.iter().try_for_each(|peer| peer.await_session(node.enode()))?;
        Ok(node)
    }

    /// Starts a status-go peer that dials a node.
    ///
    /// # Errors
    /// When they do not come together.
    pub(crate) fn status_at(&self, node: &Causeway, name: &str, flags: &[&str]) -> Result<StatusPeer> {
        let peer = self.status(name, &[&["-dial", node.enode()], flags].concat())?;
        peer.await_session(node.enode())?;
        Ok(peer)
    }
}

/// Waits until a bridge and its peers are ready for each other.
///
/// # Errors
/// When they are not in time.
pub(crate) fn join(bridge: &Causeway, v0: &StatusPeer, v2: &WakuPeer) -> Result<()> {
    v0.await_session(bridge.enode())?;
    v2.await_mesh(bridge.multiaddr())?;
    bridge.await_ready()
}
