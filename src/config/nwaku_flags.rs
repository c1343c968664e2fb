//! Every flag of nwaku that concerns a relay, row by row: what is given, and what follows from it.

use std::{collections::BTreeSet, time::Duration};

use clap::CommandFactory;
use waku2::{announce::Host, filter::Limits, slots::Slots};

use super::rln::{Chain, Credentials, Group};
use super::*;
use crate::{cli::FOREIGN, config::archive::Place};
use membership::contract::Contract;

/// The flags of nwaku 0.37, with the default of each; empty where there is none or a text that is empty.
const NWAKU: [(&str, &str); 108] = [
    ("config-file", ""),
    ("log-level", "info"),
    ("log-format", "text"),
    ("preset", ""),
    ("cluster-id", "0"),
    ("num-shards-in-network", "1"),
    ("shard", IN_WORDS),
    ("content-topic", ""),
    ("agent-string", OWN),
    ("nodekey", ""),
    ("listen-address", "0.0.0.0"),
    ("tcp-port", "60000"),
    ("ports-shift", "0"),
    ("nat", OWN),
    ("ext-multiaddr", ""),
    ("ext-multiaddr-only", "false"),
    ("dns4-domain-name", ""),
    ("dns-addrs-name-server", "1.1.1.1 1.0.0.1"),
    ("max-connections", "50"),
    ("relay-service-ratio", "60:40"),
    ("ip-colocation-limit", "5"),
    ("peer-store-capacity", IN_WORDS),
    ("peer-persistence", "false"),
    ("max-msg-size", "150KiB"),
    ("relay", "true"),
    ("relay-peer-exchange", "false"),
    ("relay-shard-manager", "false"),
    ("relay-client", "false"),
    ("staticnode", ""),
    ("protected-shard", ""),
    ("store", "false"),
    ("legacy-store", "false"),
    ("storenode", ""),
    ("store-message-retention-policy", "time:172800"),
    ("store-message-db-url", IN_WORDS),
    ("store-message-db-vacuum", "false"),
    ("store-message-db-migration", "true"),
    ("store-max-num-db-connections", "50"),
    ("store-resume", "false"),
    ("store-sync", "false"),
    ("store-sync-interval", "300"),
    ("store-sync-range", "3600"),
    ("filter", "false"),
    ("filternode", ""),
    ("filter-subscription-timeout", "300"),
    ("filter-max-peers-to-serve", "1000"),
    ("filter-max-criteria", "1000"),
    ("lightpush", "false"),
    ("lightpushnode", ""),
    ("rest", "true"),
    ("rest-address", "127.0.0.1"),
    ("rest-port", "8645"),
    ("rest-relay-cache-capacity", "50"),
    ("rest-admin", "false"),
    ("rest-allow-origin", ""),
    ("metrics-server", "false"),
    ("metrics-server-address", "127.0.0.1"),
    ("metrics-server-port", "8008"),
    ("metrics-logging", "true"),
    ("dns-discovery", ""),
    ("dns-discovery-url", ""),
    ("discv5-discovery", "false"),
    ("discv5-udp-port", "9000"),
    ("discv5-bootstrap-node", ""),
    ("discv5-enr-auto-update", "false"),
    ("discv5-table-ip-limit", "10"),
    ("discv5-bucket-ip-limit", "2"),
    ("discv5-bits-per-hop", "1"),
    ("peer-exchange", "true"),
    ("peer-exchange-node", ""),
    ("rendezvous", "true"),
    ("websocket-support", OWN),
    ("websocket-port", "8000"),
    ("websocket-secure-support", "false"),
    ("websocket-secure-key-path", ""),
    ("websocket-secure-cert-path", ""),
    ("rate-limit", IN_WORDS),
    ("reliability", "false"),
    ("mix", "false"),
    ("mixkey", ""),
    ("mixnode", ""),
    ("keep-alive", "true"),
    ("max-relay-peers", ""),
    ("rln-relay", IN_WORDS),
    ("rln-relay-dynamic", "false"),
    ("rln-relay-cred-path", ""),
    ("rln-relay-cred-password", ""),
    ("rln-relay-membership-index", IN_WORDS),
    ("rln-relay-eth-client-address", ""),
    ("rln-relay-eth-contract-address", IN_WORDS),
    ("rln-relay-eth-private-key", ""),
    ("rln-relay-chain-id", IN_WORDS),
    ("rln-relay-epoch-sec", "600"),
    ("rln-relay-user-message-limit", IN_WORDS),
    // go-waku's, where nwaku has another name or none.
    ("address", "0.0.0.0"),
    ("pubsub-topic", ""),
    ("key-file", ""),
    ("key-password", ""),
    ("persist-peers", "false"),
    ("store-message-retention-time", ""),
    ("store-message-retention-capacity", ""),
    ("log-encoding", ""),
    ("log-output", ""),
    ("show-addresses", "false"),
    ("pprof", "false"),
    ("dns-discovery-name-server", "1.1.1.1 1.0.0.1"),
    ("nodekey-file", ""),
    ("rest-filter-cache-capacity", "50"),
];

/// A default that the help tells in words.
const IN_WORDS: &str = "(in words)";
/// A default of our own: the name of this program; no port is mapped; browsers can reach a node by default.
const OWN: &str = "(ours)";

/// What follows from a flag.
enum Seen {
    /// This holds of the checked configuration, and does not without the flag.
    Effect(fn(&Config) -> bool),
    /// The start says so.
    Notice(&'static str),
    /// The start is refused.
    Refusal(&'static str),
    /// Another test sees to it: flags that are read before there is a configuration.
    Elsewhere(&'static str),
}

use Seen::{Effect, Elsewhere, Notice, Refusal};

const PEER: &str = "/ip4/1.2.3.4/tcp/60000/p2p/16Uiu2HAm2HyS6brcCspSbszG9i36re2bWBVjMe3tMdnFp1Hua34F";
const LIST: &str = "enrtree://AIRVQ5DDA4FFWLRBCHJWUWOO6X6S4ZTZ5B667LQ6AJU6PEYDLRD5O@sandbox.waku.nodes.status.im";
const KEY: &str = "0379be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

/// The flag and what is given, which may need more; and what follows.
fn rows() -> Vec<(&'static str, Vec<String>, Seen)> {
    let row = |flag: &'static str, given: &[&str], seen| {
        (flag, given.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>(), seen)
    };
    let record = waku2::Preset::TWN.bootstrap[0];
    let mut rows = vec![
        row("config-file", &[], Elsewhere("cli::sources")),
        row("log-level", &[], Elsewhere("logging")),
        row("log-format", &[], Elsewhere("e2e: logs_are_objects_for_programs_when_asked")),
        row("preset", &["--preset=twn"], Effect(|c| v2(c).network.cluster.0 == 1)),
        row("cluster-id", &["--cluster-id=7"], Effect(|c| v2(c).network.cluster.0 == 7)),
        row("num-shards-in-network", &["--num-shards-in-network=3"], Effect(|c| v2(c).network.topics.len() == 3)),
        row("shard", &["--num-shards-in-network=8", "--shard=5"], Effect(|c| relays(c, &["/waku/2/rs/0/5"]))),
        row(
            "content-topic",
            &["--num-shards-in-network=8", "--shard=5", "--content-topic=/toychat/2/huilong/proto"],
            Effect(|c| relays(c, &["/waku/2/rs/0/5", "/waku/2/rs/0/3"])),
        ),
        row("agent-string", &["--agent-string=me"], Effect(|c| v2(c).agent == "me")),
        row("nodekey", &["--nodekey=01"], Effect(|c| c.nodekey.as_deref() == Some("01"))),
        row("nodekey-file", &["--nodekey-file=k"], Effect(|c| c.nodekey_file == Some("k".into()))),
        row("key-file", &["--key-file=k"], Effect(|c| c.nodekey_file == Some("k".into()))),
        row("listen-address", &["--listen-address=::1"], Effect(|c| v2(c).listen.to_string() == "/ip6/::1/tcp/60000")),
        row("address", &["--address=::1"], Effect(|c| v2(c).listen.to_string() == "/ip6/::1/tcp/60000")),
        row("tcp-port", &["--tcp-port=1"], Effect(|c| v2(c).listen.to_string() == "/ip4/0.0.0.0/tcp/1")),
        row(
            "ports-shift",
            &["--ports-shift=1"],
            Effect(|c| v2(c).listen.to_string().ends_with("/60001") && c.http.rest.is_some_and(|at| at.port() == 8646)),
        ),
        row("nat", &["--nat=extip:203.0.113.7"], Effect(|c| matches!(v2(c).announce.host, Some(Host::Ip(_))))),
        row("ext-multiaddr", &["--ext-multiaddr=/dns4/a.b/tcp/1"], Effect(|c| v2(c).announce.extra.len() == 1)),
        row(
            "ext-multiaddr-only",
            &["--ext-multiaddr=/dns4/a.b/tcp/1", "--ext-multiaddr-only"],
            Effect(|c| v2(c).announce.only_extra),
        ),
        row(
            "dns4-domain-name",
            &["--dns4-domain-name=a.b"],
            Effect(|c| v2(c).announce.host == Some(Host::Dns4("a.b".into()))),
        ),
        row("dns-addrs-name-server", &["--dns-addrs-name-server=9.9.9.9"], Effect(|c| v2(c).name_servers.len() == 1)),
        row(
            "dns-discovery-name-server",
            &["--dns-discovery-name-server=9.9.9.9"],
            Effect(|c| v2(c).name_servers.len() == 1),
        ),
        row("max-connections", &["--max-connections=99"], Effect(|c| v2(c).limits.connections == 99)),
        row(
            "relay-service-ratio",
            &["--relay-service-ratio=70:30"],
            Effect(|c| {
                Slots::new(v2(c).limits.connections, v2(c).seek.how.ratio).is_ok_and(|slots| slots.inbound() == 24)
            }),
        ),
        row("ip-colocation-limit", &["--ip-colocation-limit=0"], Effect(|c| v2(c).limits.per_address == 0)),
        row("peer-store-capacity", &["--peer-store-capacity=9"], Effect(|c| v2(c).seek.how.capacity == 9)),
        row("peer-store-capacity", &["--peer-store-capacity=0"], Refusal("from 1 to 512")),
        row("peer-persistence", &["--peer-persistence"], Effect(|c| v2(c).seek.persistent)),
        row("persist-peers", &["--persist-peers=true"], Effect(|c| v2(c).seek.persistent)),
        row("max-msg-size", &["--max-msg-size=100KB"], Effect(|c| v2(c).network.policy.max_rpc_bytes() == 100_000)),
        row("relay", &["--relay=false", "--waku-v0"], Effect(|c| c.v2.is_none() && c.v0.is_some())),
        row("relay", &["--relay=false"], Refusal("--waku-v0")),
        row("staticnode", &["--staticnode", PEER], Effect(|c| v2(c).static_peers.len() == 1)),
        row(
            "protected-shard",
            &[&format!("--protected-shard=0:{KEY}")],
            Effect(|c| v2(c).network.policy.protected.len() == 1),
        ),
        row("pubsub-topic", &["--pubsub-topic=/waku/2/rs/0/9"], Effect(|c| relays(c, &["/waku/2/rs/0/9"]))),
        row("rest", &["--rest=false"], Effect(|c| c.http.rest.is_none())),
        row(
            "rest-address",
            &["--rest-address=0.0.0.0"],
            Effect(|c| c.http.rest.is_some_and(|at| at.ip().is_unspecified())),
        ),
        row("rest-port", &["--rest-port=1"], Effect(|c| c.http.rest.is_some_and(|at| at.port() == 1))),
        row("rest-admin", &["--rest-admin=true"], Effect(|c| c.http.api.admin)),
        row("rest-relay-cache-capacity", &["--rest-relay-cache-capacity=5"], Effect(|c| c.http.api.relay_cache == 5)),
        row("rest-relay-cache-capacity", &["--rest-relay-cache-capacity=10001"], Refusal("10000")),
        row(
            "rest-filter-cache-capacity",
            &["--rest-filter-cache-capacity=5"],
            Effect(|c| c.http.api.filter_cache == 5),
        ),
        row("rest-allow-origin", &["--rest-allow-origin=*"], Effect(|c| c.http.allow_origin.len() == 1)),
        row("metrics-server", &["--metrics-server"], Effect(|c| c.http.metrics == "127.0.0.1:8008".parse().ok())),
        row(
            "metrics-server-address",
            &["--metrics-server", "--metrics-server-address=0.0.0.0"],
            Effect(|c| c.http.metrics == "0.0.0.0:8008".parse().ok()),
        ),
        row(
            "metrics-server-port",
            &["--metrics-server", "--metrics-server-port=8003"],
            Effect(|c| c.http.metrics == "127.0.0.1:8003".parse().ok()),
        ),
        row("dns-discovery", &["--dns-discovery=true"], Notice("--dns-discovery is deprecated")),
        row("dns-discovery-url", &["--dns-discovery-url", LIST], Effect(|c| v2(c).seek.how.dns.is_some())),
        row("discv5-discovery", &["--discv5-discovery=true"], Effect(|c| v2(c).seek.how.discv5.is_some())),
        row(
            "discv5-udp-port",
            &["--discv5-discovery", "--discv5-udp-port=1"],
            Effect(|c| udp(c).is_some_and(|udp| udp.listen.port() == 1)),
        ),
        row(
            "discv5-bootstrap-node",
            &["--discv5-discovery", "--discv5-bootstrap-node", record],
            Effect(|c| udp(c).is_some_and(|udp| udp.bootstrap.len() == 1)),
        ),
        row(
            "discv5-enr-auto-update",
            &["--discv5-discovery", "--discv5-enr-auto-update"],
            Effect(|c| udp(c).is_some_and(|udp| udp.auto_update)),
        ),
        row(
            "discv5-table-ip-limit",
            &["--discv5-discovery", "--discv5-table-ip-limit=0"],
            Effect(|c| udp(c).is_some_and(|udp| !udp.ip_limit)),
        ),
        row("discv5-table-ip-limit", &["--discv5-table-ip-limit=9"], Notice("--discv5-table-ip-limit")),
        row(
            "discv5-bucket-ip-limit",
            &["--discv5-discovery", "--discv5-bucket-ip-limit=0"],
            Effect(|c| udp(c).is_some_and(|udp| !udp.ip_limit)),
        ),
        row("discv5-bucket-ip-limit", &["--discv5-bucket-ip-limit=9"], Notice("--discv5-bucket-ip-limit")),
        row("discv5-bits-per-hop", &["--discv5-bits-per-hop=2"], Notice("--discv5-bits-per-hop is always 1")),
        row("peer-exchange", &["--peer-exchange=false"], Effect(|c| !v2(c).seek.how.answer_exchange)),
        row("peer-exchange-node", &["--peer-exchange-node", PEER], Effect(|c| v2(c).seek.exchange_node.is_some())),
        row("websocket-support", &["--websocket-support=false"], Effect(|c| v2(c).websocket.is_none())),
        row(
            "websocket-port",
            &["--websocket-port=1"],
            Effect(|c| v2(c).websocket.as_ref().is_some_and(|at| at.to_string().ends_with("/1/ws"))),
        ),
        row(
            "websocket-secure-support",
            &WSS,
            Effect(|c| v2(c).websocket.as_ref().is_some_and(|at| at.to_string().ends_with("/wss"))),
        ),
        row(
            "websocket-secure-key-path",
            &WSS,
            Effect(|c| v2(c).certificate.as_ref().is_some_and(|files| files.key == *"key.pem")),
        ),
        row(
            "websocket-secure-cert-path",
            &WSS,
            Effect(|c| v2(c).certificate.as_ref().is_some_and(|files| files.certificate == *"cert.pem")),
        ),
        row(
            "rate-limit",
            &["--rate-limit=px:7/1s"],
            Effect(|c| v2(c).seek.how.exchange_budgets != Budgets::default() && v2(c).services.rate_limits.len() == 1),
        ),
        row("rate-limit", &["--rate-limit=px:ten/1s"], Refusal("give [SERVICE:]VOLUME/PERIOD")),
        row("lightpush", &["--lightpush=True"], Effect(|c| v2(c).services.serves_lightpush)),
        row("lightpush", &["--lightpush", "--relay=false", "--waku-v0"], Refusal("publishes by relay")),
        row("lightpushnode", &["--lightpushnode", PEER], Effect(|c| v2(c).services.nodes.lightpush.len() == 1)),
        row("lightpushnode", &["--lightpushnode=/ip4/1.2.3.4/tcp/1"], Refusal("does not end in /p2p/ID")),
        row("rate-limit", &["--rate-limit=store:30/1m"], Effect(|c| v2(c).services.rate_limits.len() == 1)),
        row("rate-limit", &["--rate-limit=filter:30/1m"], Effect(|c| v2(c).services.rate_limits.len() == 1)),
        row("filter", &["--filter"], Effect(|c| v2(c).services.filter.serve == Some(Limits::default()))),
        row("filternode", &["--filternode", PEER], Effect(|c| v2(c).services.nodes.filter.len() == 1)),
        row("filternode", &["--filternode=/ip4/1.2.3.4/tcp/1"], Refusal("does not end in /p2p/ID")),
        row(
            "filter-subscription-timeout",
            &["--filter", "--filter-subscription-timeout=5"],
            Effect(|c| filter_limits(c).lease == Duration::from_secs(5)),
        ),
        row(
            "filter-max-peers-to-serve",
            &["--filter", "--filter-max-peers-to-serve=5"],
            Effect(|c| filter_limits(c).max_peers == 5),
        ),
        row(
            "filter-max-criteria",
            &["--filter", "--filter-max-criteria=5"],
            Effect(|c| filter_limits(c).max_criteria == 5),
        ),
        row("store", &["--store"], Effect(|c| store(c).v3 && !store(c).legacy && c.archive.is_some())),
        row("store", &["--store", "--preset=twn"], Notice("--store: this network asks for rate-limit proofs")),
        row(
            "legacy-store",
            &["--legacy-store=true"],
            Effect(|c| store(c).legacy && !store(c).v3 && c.archive.is_some()),
        ),
        row("storenode", &["--storenode", PEER], Effect(|c| v2(c).services.nodes.store.len() == 1)),
        row(
            "store-message-retention-policy",
            &["--store", "--store-message-retention-policy=capacity:100"],
            Effect(|c| c.archive.as_ref().is_some_and(|archive| archive.retention.max_rows == Some(100))),
        ),
        row(
            "store-message-db-url",
            &["--store", "--store-message-db-url=sqlite://:memory:"],
            Effect(|c| c.archive.as_ref().is_some_and(|archive| archive.place == Place::Memory)),
        ),
        row(
            "store-max-num-db-connections",
            &["--store", "--store-message-db-url=postgres://u:p@h/db", "--store-max-num-db-connections=5"],
            Effect(|c| {
                let place = c.archive.as_ref().map(|archive| &archive.place);
                matches!(place, Some(Place::Postgres { connections: 5, .. }))
            }),
        ),
        row("store-resume", &["--store", "--store-resume"], Effect(|c| store(c).resume.is_some())),
        row("store-resume", &["--store-resume"], Notice("add --store")),
        row("store-message-db-vacuum", &["--store-message-db-vacuum"], Notice("gives back")),
        row("store-message-db-migration", &["--store-message-db-migration"], Notice("at every start")),
        row("store-message-retention-time", &["--store-message-retention-time=720h"], Notice("=time:SECONDS")),
        row("store-message-retention-capacity", &["--store-message-retention-capacity=5"], Notice("=capacity:ROWS")),
        row("rln-relay", &["--rln-relay=true"], Refusal("--rln-relay needs to know who is a member")),
        row("rln-relay", &["--rln-relay=true", "--rln-group=f"], Effect(|c| v2(c).rln.is_some())),
        row("rln-relay", &["--rln-relay=false", "--preset=twn"], Notice("what we publish without one stays here")),
        row("rln-relay-dynamic", &["--rln-relay-dynamic=true"], Notice("have no effect")),
        row("rln-relay-dynamic", &["--rln-relay", "--rln-group=f", "--rln-relay-dynamic"], Refusal("--rln-group")),
        row("rln-relay-cred-path", &["--rln-relay-cred-path=/k"], Notice("have no effect")),
        row("rln-relay-cred-path", &[&PROVEN[..], &["--rln-relay-cred-path=/k"]].concat(), Refusal("its password")),
        row(
            "rln-relay-cred-path",
            &MEMBER,
            Effect(|c| credentials(c).is_some_and(|it| it.files == [PathBuf::from("/k")])),
        ),
        row("rln-relay-cred-password", &["--rln-relay-cred-password=secret"], Notice("have no effect")),
        row("rln-relay-cred-password", &MEMBER, Effect(|c| credentials(c).is_some())),
        row(
            "rln-relay-membership-index",
            &[&MEMBER[..], &["--rln-relay-membership-index=5"]].concat(),
            Effect(|c| credentials(c).is_some_and(|it| it.index == Some(5))),
        ),
        row(
            "rln-relay-user-message-limit",
            &[&MEMBER[..], &["--rln-relay-user-message-limit=5"]].concat(),
            Effect(|c| credentials(c).is_some_and(|it| it.limit == waku_rln::Limit::new(5))),
        ),
        row("rln-relay-eth-client-address", &PROVEN, Effect(|c| chain(c).is_some_and(|it| it.providers.len() == 1))),
        row(
            "rln-relay-eth-client-address",
            &["--preset=twn", "--rln-relay-eth-client-address=ws://secret"],
            Refusal("--rln-relay-eth-client-address: no address"),
        ),
        row(
            "rln-relay-eth-contract-address",
            &[&PROVEN[..], &["--rln-relay-eth-contract-address=0xCB33Aa5B38d79E3D9Fa8B10afF38AA201399a7e3"]].concat(),
            Effect(|c| chain(c).is_some_and(|it| it.contract.address == Contract::TWN_SPEC.address)),
        ),
        row(
            "rln-relay-eth-contract-address",
            &[&PROVEN[..], &["--rln-relay-eth-contract-address=0xB9cd"]].concat(),
            Refusal("40 hex digits"),
        ),
        row(
            "rln-relay-eth-private-key",
            &["--rln-relay-eth-private-key=secret"],
            Notice("`causeway rln register` does"),
        ),
        row(
            "rln-relay-chain-id",
            &[&PROVEN[..], &["--rln-relay-chain-id=0x5"]].concat(),
            Effect(|c| chain(c).is_some_and(|it| it.contract.chain == 5)),
        ),
        row(
            "rln-relay-epoch-sec",
            &[&PROVEN[..], &["--rln-relay-epoch-sec=60"]].concat(),
            Effect(|c| v2(c).rln.as_ref().is_some_and(|rln| rln.epochs.secs() == 60)),
        ),
        row("keep-alive", &["--keep-alive=true"], Notice("--keep-alive is deprecated")),
        row("max-relay-peers", &["--max-relay-peers=20"], Notice("--max-relay-peers is deprecated")),
        row("key-password", &["--key-password=x"], Refusal("--nodekey-file")),
        row("log-encoding", &["--log-encoding=json"], Refusal("--log-format")),
        row("log-output", &["--log-output=stdout"], Refusal("standard error")),
        row("show-addresses", &["--show-addresses"], Notice("--show-addresses: the first lines of the output do")),
    ];
    for (flag, value) in [
        ("store-sync", "true"),
        ("store-sync-interval", "5"),
        ("store-sync-range", "5"),
        ("metrics-logging", "true"),
        ("rendezvous", "true"),
        ("reliability", "true"),
        ("mix", "true"),
        ("mixkey", "01"),
        ("mixnode", PEER),
        ("relay-peer-exchange", "true"),
        ("relay-shard-manager", "true"),
        ("relay-client", "true"),
        ("pprof", "true"),
    ] {
        rows.push((flag, vec![format!("--{flag}={value}")], Notice("not served yet: ")));
    }
    rows
}

const WSS: [&str; 3] =
    ["--websocket-secure-support", "--websocket-secure-key-path=key.pem", "--websocket-secure-cert-path=cert.pem"];

/// Proofs are verified by these.
const PROVEN: [&str; 2] = ["--preset=twn", "--rln-relay-eth-client-address=https://node.example/secret"];
/// And made by these.
const MEMBER: [&str; 4] = [PROVEN[0], PROVEN[1], "--rln-relay-cred-path=/k", "--rln-relay-cred-password=secret"];

fn credentials(config: &Config) -> Option<&Credentials> {
    v2(config).rln.as_ref()?.credentials.as_ref()
}

fn chain(config: &Config) -> Option<&Chain> {
    match &v2(config).rln.as_ref()?.group {
        Group::Chain(chain) => Some(chain),
        Group::File(_) => None,
    }
}

fn v2(config: &Config) -> &V2 {
    config.v2.as_ref().expect("a node of the Waku Network")
}

fn filter_limits(config: &Config) -> Limits {
    v2(config).services.filter.serve.unwrap_or_default()
}

fn store(config: &Config) -> &store::Store {
    config.store.as_ref().expect("a node of the Waku Network")
}

fn udp(config: &Config) -> Option<&waku2::seek::Udp> {
    v2(config).seek.how.discv5.as_ref()
}

fn relays(config: &Config, topics: &[&str]) -> bool {
    v2(config).network.topics.iter().map(waku2::PubsubTopic::as_str).eq(topics.iter().copied())
}

fn read(command: &str, flags: &[String]) -> Result<Config, String> {
    let line = ["causeway", command].map(str::to_owned).into_iter().chain(flags.iter().cloned());
    let config = match Cli::without_environment(line).map_err(|error| error.to_string())?.command {
        Command::Node(args) => Config::try_from(*args),
        Command::Bridge(args) => Config::try_from(*args),
        other => panic!("{other:?}"),
    };
    config.map_err(|error| error.to_string())
}

/// All that is told at the start.
fn told(config: &Config) -> Vec<String> {
    let v2 = config.v2.iter().flat_map(|v2| v2.network.notices.iter().chain(&v2.seek.notices));
    config.notices.iter().cloned().chain(v2.map(|notice| (*notice).to_owned())).collect()
}

#[test]
fn every_row_has_its_effect_or_its_word() {
    let without = read("node", &[]).unwrap();
    assert_eq!(told(&without), [] as [&str; 0]);
    for (flag, given, seen) in rows() {
        let read = read("node", &given);
        match (seen, read) {
            (Effect(holds), Ok(config)) => {
                // Where there is no such side, nothing about it holds.
                assert!(holds(&config), "{flag}: {given:?} has no effect");
                assert!(!holds(&without), "{flag}: so it is without {given:?}");
            }
            (Notice(text), Ok(config)) => {
                let told = told(&config);
                let names = |notice: &String| notice.contains(text) && notice.contains(&format!("--{flag}"));
                assert_eq!(told.iter().filter(|notice| names(notice)).count(), 1, "{flag}: {told:?}");
                assert!(told.iter().all(|notice| !notice.contains("secret")), "{told:?}");
            }
            (Refusal(text), Err(said)) => assert!(said.contains(text), "{flag}: {said}"),
            (Elsewhere(test), Ok(_)) => assert!(!test.is_empty(), "{flag}"),
            (_, read) => panic!("{flag}: {given:?}: {:?}", read.map(|config| told(&config))),
        }
    }
}

#[test]
fn the_table_has_every_flag_of_the_list_and_no_other() {
    let list: BTreeSet<&str> = NWAKU.iter().map(|(flag, _)| *flag).collect();
    assert_eq!(list.len(), NWAKU.len());
    let table: BTreeSet<&str> = rows().iter().map(|(flag, ..)| *flag).collect();
    assert_eq!(table, list);
    let foreign: BTreeSet<&str> = FOREIGN.iter().map(|foreign| foreign.flag).collect();
    assert_eq!(foreign.len(), FOREIGN.len());
    assert!(foreign.is_subset(&list), "{:?}", foreign.difference(&list));
}

#[test]
fn every_flag_has_the_default_of_nwaku_in_node_and_bridge_alike() {
    let command = Cli::command();
    for name in ["node", "bridge"] {
        let sub = command.find_subcommand(name).unwrap();
        for (flag, default) in NWAKU {
            let has = |arg: &&clap::Arg| {
                arg.get_long() == Some(flag) || arg.get_all_aliases().is_some_and(|names| names.contains(&flag))
            };
            let arg = sub.get_arguments().find(has).unwrap_or_else(|| panic!("{name} has no --{flag}"));
            let said = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let said = said.split_once("[default: ").and_then(|(_, rest)| rest.split_once(']')).map(|(text, _)| text);
            let set: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
            let ours = if set.is_empty() { said.unwrap_or_default().to_owned() } else { set.join(" ") };
            match default {
                OWN => assert!(!set.is_empty(), "--{flag} of {name}"),
                IN_WORDS => assert!(said.is_some_and(|text| !text.is_empty()), "--{flag} of {name}"),
                theirs => assert_eq!(ours.to_lowercase(), theirs.to_lowercase(), "--{flag} of {name}"),
            }
        }
    }
}

#[test]
fn what_is_not_served_is_said_in_one_line() {
    let flags =
        ["--store=true", "--filter", "--lightpush=True", "--legacy-store=false", "--mix=true"].map(str::to_owned);
    assert_eq!(told(&read("node", &flags).unwrap()), ["not served yet: --mix"]);
    let bridge = told(&read("bridge", &flags).unwrap());
    assert_eq!(bridge, ["not served yet: --mix"]);
}

#[test]
fn a_node_of_nwaku_compose_starts() {
    let config = read(
        "node",
        &[
            "--relay=true",
            "--filter=true",
            "--lightpush=true",
            "--keep-alive=true",
            "--max-connections=150",
            "--cluster-id=1",
            "--discv5-discovery=true",
            "--discv5-udp-port=9005",
            "--discv5-enr-auto-update=True",
            "--log-level=DEBUG",
            "--tcp-port=30304",
            "--metrics-server=True",
            "--metrics-server-port=8003",
            "--metrics-server-address=0.0.0.0",
            "--rest=true",
            "--rest-admin=true",
            "--rest-address=0.0.0.0",
            "--rest-port=8645",
            "--rest-allow-origin=waku-org.github.io",
            "--rest-allow-origin=localhost:*",
            "--nat=extip:203.0.113.7",
            "--store=true",
            "--store-message-db-url=postgres://postgres:test123@postgres:5432/postgres",
            "--store-message-retention-policy=size:1GB",
            "--rln-relay=true",
            "--rln-relay-dynamic=true",
            "--rln-relay-eth-client-address=https://linea-sepolia.example",
            "--rln-relay-cred-path=/keystore/keystore.json",
            "--rln-relay-cred-password=secret",
        ]
        .map(str::to_owned),
    )
    .unwrap();
    assert_eq!((v2(&config).network.topics.len(), v2(&config).limits.connections), (8, 150));
    assert!(udp(&config).is_some_and(|udp| udp.auto_update && udp.bootstrap.len() == 3));
    assert_eq!(config.http.metrics, "0.0.0.0:8003".parse().ok());
    let archive = config.archive.as_ref().unwrap();
    assert!(matches!(archive.place, Place::Postgres { connections: 50, .. }) && store(&config).v3);
    assert_eq!(archive.retention.to_string(), "size:1024MB");
    let told = told(&config);
    assert!(credentials(&config).is_some() && chain(&config).is_some_and(|chain| chain.contract == Contract::TWN));
    assert!(told.iter().all(|notice| !notice.contains("RLN")), "{told:?}");
}

/// What 64/WAKU2-NETWORK prints, and what the live network has in its place. The highest limit of a member is the contract's to
/// say.
#[test]
fn net_16_the_parameters_of_the_text_and_those_of_the_live_network() {
    let text = (11_155_111, "0xCB33Aa5B38d79E3D9Fa8B10afF38AA201399a7e3");
    let live = (59_141, "0xB9cd878C90E49F797B4431fBF4fb333108CB90e6");
    for (preset, (id, address)) in [("twn-spec", text), ("twn", live)] {
        let flags = [format!("--preset={preset}"), PROVEN[1].to_owned()];
        let config = read("node", &flags).unwrap();
        let contract = chain(&config).unwrap().contract;
        assert_eq!((contract.chain, contract.address.to_string()), (id, address.to_owned()), "{preset}");
        assert_eq!(v2(&config).rln.as_ref().unwrap().epochs.secs(), 600, "{preset}");
        let network = &v2(&config).network;
        assert_eq!((network.cluster, network.shards), (waku2::ClusterId(1), 8), "{preset}");
        assert_eq!(network.policy.timestamp_window, Some(Duration::from_secs(20)), "{preset}");
        let line = ["causeway", "rln", "register", &flags[0]].map(str::to_owned);
        let Command::Rln(args) = Cli::without_environment(line).unwrap().command else { panic!("rln") };
        let crate::cli::RlnCommand::Register(args) = args.command else { panic!("register") };
        assert_eq!((args.rln_relay_user_message_limit, &*args.preset), (100, preset));
    }
    assert_eq!(waku2::rln::check::MAX_EPOCH_GAP, Duration::from_secs(20));
    assert_eq!(membership::contract::DEPTH, 20);
}

#[test]
fn a_bridge_relays() {
    assert!(read("bridge", &["--relay=false".to_owned()]).unwrap_err().contains("causeway legacy"));
}

#[test]
fn a_node_relays_all_shards_or_those_named_and_bridges_nothing() {
    let of = |flags: &[&str]| {
        let config = read("node", &flags.iter().map(|flag| (*flag).to_owned()).collect::<Vec<_>>()).unwrap();
        assert!(config.bridge.is_none() && config.v0.is_none());
        v2(&config).network.topics.iter().map(|topic| topic.as_str().replace("/waku/2/rs/", "")).collect::<Vec<_>>()
    };
    assert_eq!(of(&[]), ["0/0"]);
    assert_eq!(of(&["--preset=twn"]), ["1/0", "1/1", "1/2", "1/3", "1/4", "1/5", "1/6", "1/7"]);
    assert_eq!(of(&["--preset=twn", "--shard=3"]), ["1/3"]);
    assert_eq!(of(&["--preset=status"]), ["16/32", "16/64"]);
    assert_eq!(of(&["--cluster-id=5", "--num-shards-in-network=0"]), [] as [&str; 0]);
    assert_eq!(of(&["--cluster-id=5", "--num-shards-in-network=0", "--shard=9"]), ["5/9"]);
}
