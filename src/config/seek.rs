//! How peers of the Waku Network are found: the flags, checked.

use std::net::SocketAddr;

use devp2p::{
    dnsdisc::{self, Link, LinkError},
    enr::{self, EnrError},
    inbound::is_local,
};
use waku2::{
    Multiaddr, Preset,
    seek::{self, Udp},
};

use crate::cli::SeekArgs;

/// What is sought, and what stays of it.
#[derive(Debug, Clone)]
pub struct Seek {
    /// How; the place of the address book is added when the data directory is known.
    pub how: seek::Config,
    /// Is an address book kept?
    pub persistent: bool,
    /// Asked for peers, and a static peer.
    pub exchange_node: Option<Multiaddr>,
    /// What an operator should know of it.
    pub notices: Vec<&'static str>,
}

/// A flag about finding peers whose value can't be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeekError {
    /// Not a link to a list.
    #[error("--dns-discovery-url {value}: {cause}. Give enrtree://<key>@<domain>")]
    Link {
        /// What was given.
        value: String,
        /// Why it can't be used.
        cause: LinkError,
    },
    /// Not a record.
    #[error("--discv5-bootstrap-node {value}: {cause}")]
    Record {
        /// What was given.
        value: String,
        /// Why it can't be used.
        cause: EnrError,
    },
    /// A record that says no UDP address.
    #[error("--discv5-bootstrap-node {0}: it tells no address for UDP")]
    Deaf(String),
    /// Not the address of a peer.
    #[error("--peer-exchange-node {value}: {cause}. Give /ip4/<address>/tcp/<port>/p2p/<peer id>")]
    Node {
        /// What was given.
        value: String,
        /// Why it can't be used.
        cause: String,
    },
}

/// Reads the flags. `listen` is where UDP packets come in. Whoever asks for discovery and names nowhere to begin begins at what
/// the preset names.
///
/// # Errors
/// See [`SeekError`].
pub(super) fn seek(
    args: &SeekArgs,
    preset: Option<Preset>,
    listen: SocketAddr,
    name_servers: &[SocketAddr],
) -> Result<Seek, SeekError> {
    let over_udp = args.discv5_discovery.unwrap_or_default();
    let mut lists = named(&args.dns_discovery_url);
    let mut begin = named(&args.discv5_bootstrap_node);
    if let Some(preset) = preset.filter(|_| over_udp && lists.is_empty() && begin.is_empty()) {
        (lists, begin) = (preset.lists.to_vec(), preset.bootstrap.to_vec());
    }
    let notices = notices(args, lists.is_empty() && begin.is_empty());
    let links = lists.into_iter().map(link).collect::<Result<Vec<_>, _>>()?;
    let bootstrap = begin.into_iter().map(record).collect::<Result<Vec<_>, _>>()?;
    let udp = Udp {
        listen,
        bootstrap,
        auto_update: args.discv5_enr_auto_update,
        ip_limit: args.discv5_table_ip_limit > 0 && args.discv5_bucket_ip_limit > 0,
    };
    let exchange_node = Some(args.peer_exchange_node.as_str()).filter(|text| !text.is_empty());
    let exchange_node = exchange_node.map(node).transpose()?;
    let how = seek::Config {
        dns: (!links.is_empty()).then(|| dnsdisc::Config { links, name_servers: name_servers.to_vec() }),
        discv5: over_udp.then_some(udp),
        answer_exchange: args.peer_exchange,
        ask_peers: exchange_node.is_some(),
        ratio: args.relay_service_ratio,
        // A node that listens inside a private network has its peers there.
        local_addresses: !listen.ip().is_unspecified() && is_local(listen.ip()),
        ..seek::Config::default()
    };
    Ok(Seek { how, persistent: args.peer_persistence, exchange_node, notices })
}

/// Those that are not empty, which compose files pass for what is not set.
fn named(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).filter(|text| !text.is_empty()).collect()
}

fn node(text: &str) -> Result<Multiaddr, SeekError> {
    super::peer_address(text).map_err(|cause| SeekError::Node { value: text.to_owned(), cause })
}

fn link(text: &str) -> Result<Link, SeekError> {
    text.parse().map_err(|cause| SeekError::Link { value: text.to_owned(), cause })
}

fn record(text: &str) -> Result<enr::Enr, SeekError> {
    let record = enr::parse(text).map_err(|cause| SeekError::Record { value: text.to_owned(), cause })?;
    if record.udp4_socket().is_none() && record.udp6_socket().is_none() {
        return Err(SeekError::Deaf(text.to_owned()));
    }
    Ok(record)
}

/// Told where a network has nodes to begin at, and nobody is called at all.
pub(super) const NOBODY: &str =
    "nobody is looked for: with --discv5-discovery this network's own bootstrap nodes are asked for peers";

/// What has another effect than its name says; `nowhere`: is there nowhere to begin?
fn notices(args: &SeekArgs, nowhere: bool) -> Vec<&'static str> {
    let over_udp = args.discv5_discovery.unwrap_or_default();
    let limits = (args.discv5_table_ip_limit, args.discv5_bucket_ip_limit);
    let told = [
        (
            !matches!(limits, (10, 2) | (0, _) | (_, 0)),
            "--discv5-table-ip-limit and --discv5-bucket-ip-limit are 10 and 2 of one /24, or 0 for none: other numbers count as these",
        ),
        (args.discv5_bits_per_hop != 1, "--discv5-bits-per-hop is always 1"),
        (args.dns_discovery.is_some(), "--dns-discovery is deprecated: --dns-discovery-url alone says what is read"),
        (
            !over_udp && !named(&args.discv5_bootstrap_node).is_empty(),
            "--discv5-bootstrap-node has no effect without --discv5-discovery",
        ),
        (
            over_udp && nowhere,
            "--discv5-discovery knows nowhere to begin, and waits to be found: give a --discv5-bootstrap-node",
        ),
    ];
    told.into_iter().filter_map(|(applies, notice)| applies.then_some(notice)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::{Cli, Command},
        config::Config,
    };

    const RECORD: &str = "enr:-QESuED0qW1BCmF-oH_ARGPr97Nv767bl_43uoy70vrbah3EaCAdK3Q0iRQ6wkSTTpdrg_dU_NC2ydO8leSlRpBX4pxiAYJpZIJ2NIJpcIRA4VDAim11bHRpYWRkcnO4XAArNiZub2RlLTAxLmRvLWFtczMud2FrdS5zYW5kYm94LnN0YXR1cy5pbQZ2XwAtNiZub2RlLTAxLmRvLWFtczMud2FrdS5zYW5kYm94LnN0YXR1cy5pbQYfQN4DgnJzkwABCAAAAAEAAgADAAQABQAGAAeJc2VjcDI1NmsxoQOTd-h5owwj-cx7xrmbvQKU8CV3Fomfdvcv1MBc-67T5oN0Y3CCdl-DdWRwgiMohXdha3UyDw";
    const PEER: &str = "/ip4/1.2.3.4/tcp/60000/p2p/16Uiu2HAm2HyS6brcCspSbszG9i36re2bWBVjMe3tMdnFp1Hua34F";
    const LIST: &str = "enrtree://AIRVQ5DDA4FFWLRBCHJWUWOO6X6S4ZTZ5B667LQ6AJU6PEYDLRD5O@sandbox.waku.nodes.status.im";

    fn read(flags: &[&str]) -> Result<Seek, String> {
        let line = [&["causeway", "bridge", "--bridge-direction=v2-to-v1"][..], flags].concat();
        let Command::Bridge(args) = Cli::without_environment(line).map_err(|error| error.to_string())?.command else {
            unreachable!("`bridge`");
        };
        let config = Config::try_from(*args).map_err(|error| error.to_string())?;
        Ok(config.v2.expect("a bridge").seek)
    }

    fn sought(flags: &[&str]) -> Seek {
        read(flags).unwrap()
    }

    #[test]
    fn without_flags_nobody_is_sought() {
        let Seek { how, persistent, exchange_node, notices } = sought(&[]);
        assert!(how.dns.is_none() && how.discv5.is_none() && !how.ask_peers && !how.local_addresses);
        assert!(how.answer_exchange && !persistent && exchange_node.is_none() && notices.is_empty());
        assert_eq!(how.ratio, "60:40".parse().unwrap());
    }

    #[test]
    fn each_flag_has_its_effect() {
        let list = sought(&["--dns-discovery-url", LIST, "--dns-addrs-name-server=127.0.0.1:53"]).how.dns.unwrap();
        assert_eq!((list.links[0].domain(), list.name_servers.len()), ("sandbox.waku.nodes.status.im", 1));
        let on = ["--discv5-discovery", "--discv5-bootstrap-node", RECORD];
        let udp = |flags: &[&str]| sought(&[&on, flags].concat()).how.discv5.unwrap();
        assert_eq!((udp(&[]).listen.to_string().as_str(), udp(&[]).bootstrap.len()), ("0.0.0.0:9000", 1));
        assert!(udp(&[]).ip_limit && !udp(&[]).auto_update);
        let moved = udp(&["--discv5-udp-port=9100", "--ports-shift=5", "--listen-address=127.0.0.1"]);
        assert_eq!(moved.listen.to_string(), "127.0.0.1:9105");
        assert!(udp(&["--discv5-enr-auto-update"]).auto_update);
        assert!(!udp(&["--discv5-table-ip-limit=0"]).ip_limit && !udp(&["--discv5-bucket-ip-limit=0"]).ip_limit);
        assert!(!sought(&["--peer-exchange=false"]).how.answer_exchange);
        let asked = sought(&["--peer-exchange-node", PEER]);
        assert!(asked.how.ask_peers && asked.exchange_node.is_some());
        assert!(sought(&["--peer-persistence"]).persistent);
        assert_eq!(sought(&["--relay-service-ratio=70:30"]).how.ratio, "70:30".parse().unwrap());
        assert!(sought(&["--listen-address=10.0.0.1"]).how.local_addresses);
    }

    #[test]
    fn a_preset_brings_its_bootstrap_when_discovery_is_asked_for() {
        let begun = |flags: &[&str]| {
            let how = sought(flags).how;
            let records = how.discv5.map_or(0, |udp| udp.bootstrap.len());
            (records, how.dns.map(|dns| dns.links[0].domain().to_owned()))
        };
        assert_eq!(begun(&["--preset=twn"]), (0, None), "nobody is contacted who was not asked for");
        assert_eq!(begun(&["--preset=twn", "--discv5-discovery=false"]), (0, None));
        assert_eq!(begun(&["--preset=twn", "--discv5-discovery"]), (3, None));
        assert_eq!(begun(&["--preset=twn-spec", "--discv5-discovery"]), (3, None));
        let status = Some("boot.prod.status.nodes.status.im".to_owned());
        assert_eq!(begun(&["--preset=status", "--discv5-discovery=true"]), (0, status));
        let own = ["--preset=twn", "--discv5-discovery", "--discv5-bootstrap-node", RECORD];
        assert_eq!(begun(&own), (1, None), "one's own take their place");
        let listed = ["--preset=twn", "--discv5-discovery", "--dns-discovery-url", LIST];
        assert_eq!(begun(&listed), (0, Some("sandbox.waku.nodes.status.im".to_owned())));
        assert_eq!(begun(&["--discv5-discovery"]), (0, None));
    }

    #[test]
    fn what_has_no_effect_is_said() {
        for (flags, notices) in [
            (&["--discv5-table-ip-limit=7"][..], 1),
            (&["--discv5-bucket-ip-limit=3", "--discv5-bits-per-hop=2"], 2),
            (&["--dns-discovery"], 1),
            (&["--dns-discovery=false"], 1),
            (&["--discv5-bootstrap-node", RECORD], 1),
            (&["--discv5-discovery"], 1),
            (&["--discv5-discovery", "--dns-discovery-url", LIST], 0),
            (&["--preset=twn"], 1),
            (&["--preset=twn", "--staticnode", PEER], 0),
            (&["--preset=status", "--peer-exchange-node", PEER], 0),
            (&["--preset=twn", "--discv5-discovery"], 0),
            (&["--preset=twn", "--discv5-discovery=false"], 0),
            (&["--discv5-bootstrap-node=", "--dns-discovery-url="], 0),
        ] {
            assert_eq!(sought(flags).notices.len(), notices, "{flags:?}");
        }
    }

    #[test]
    fn bad_values_are_named() {
        for flags in [
            ["--dns-discovery-url", "https://example.org"],
            ["--discv5-bootstrap-node", "enr:nonsense"],
            ["--relay-service-ratio", "60:30"],
            ["--peer-exchange-node", "1.2.3.4:60000"],
        ] {
            let error = read(&flags).unwrap_err();
            assert!(error.contains(flags[1]), "{error}");
        }
    }
}
