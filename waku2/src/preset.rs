//! Networks by name, as data: what an operator would otherwise have to set flag by flag.

use std::time::Duration;

use crate::shard::ClusterId;

/// How far a message's time may be from ours on networks with rate-limit proofs.  Spec: 64/WAKU2-NETWORK, "max_epoch_gap".
pub const TIMESTAMP_WINDOW: Duration = Duration::from_secs(20);

/// A network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// As flags call it.
    pub name: &'static str,
    /// Its cluster.
    pub cluster: ClusterId,
    /// How many shards content topics are spread over; 0 where sharding is static.
    pub shards_in_network: u16,
    /// The shards that a node relays unless told otherwise.
    pub shards: &'static [u16],
    /// The shards that a bridge joins with unless told otherwise, the first for what comes from waku/0; none where that follows
    /// from autosharding.
    pub bridged: &'static [u16],
    /// See [`crate::validate::Policy::timestamp_window`].
    pub timestamp_window: Option<Duration>,
    /// Do its members ask for rate-limit proofs?
    pub asks_for_proofs: bool,
    /// Records of nodes at which discovery over UDP begins, for who asks for it and names none.
    pub bootstrap: &'static [&'static str],
    /// Lists in DNS, for the same.
    pub lists: &'static [&'static str],
}

/// The bootstrap nodes of the Waku Network.  Deployed: nwaku's preset `twn`.
const TWN_BOOTSTRAP: [&str; 3] = [
    "enr:-QESuED0qW1BCmF-oH_ARGPr97Nv767bl_43uoy70vrbah3EaCAdK3Q0iRQ6wkSTTpdrg_dU_NC2ydO8leSlRpBX4pxiAYJpZIJ2NIJpcIRA4VDAim11bHRpYWRkcnO4XAArNiZub2RlLTAxLmRvLWFtczMud2FrdS5zYW5kYm94LnN0YXR1cy5pbQZ2XwAtNiZub2RlLTAxLmRvLWFtczMud2FrdS5zYW5kYm94LnN0YXR1cy5pbQYfQN4DgnJzkwABCAAAAAEAAgADAAQABQAGAAeJc2VjcDI1NmsxoQOTd-h5owwj-cx7xrmbvQKU8CV3Fomfdvcv1MBc-67T5oN0Y3CCdl-DdWRwgiMohXdha3UyDw",
    "enr:-QEkuED9X80QF_jcN9gA2ZRhhmwVEeJnsg_Hyg7IFCTYnZD0BDI7a8HArE61NhJZFwygpHCWkgwSt2vqiABXkBxzIqZBAYJpZIJ2NIJpcIQiQlleim11bHRpYWRkcnO4bgA0Ni9ub2RlLTAxLmdjLXVzLWNlbnRyYWwxLWEud2FrdS5zYW5kYm94LnN0YXR1cy5pbQZ2XwA2Ni9ub2RlLTAxLmdjLXVzLWNlbnRyYWwxLWEud2FrdS5zYW5kYm94LnN0YXR1cy5pbQYfQN4DgnJzkwABCAAAAAEAAgADAAQABQAGAAeJc2VjcDI1NmsxoQPFAS8zz2cg1QQhxMaK8CzkGQ5wdHvPJcrgLzJGOiHpwYN0Y3CCdl-DdWRwgiMohXdha3UyDw",
    "enr:-QEkuEBfEzJm_kigJ2HoSS_RBFJYhKHocGdkhhBr6jSUAWjLdFPp6Pj1l4yiTQp7TGHyu1kC6FyaU573VN8klLsEm-XuAYJpZIJ2NIJpcIQI2SVcim11bHRpYWRkcnO4bgA0Ni9ub2RlLTAxLmFjLWNuLWhvbmdrb25nLWMud2FrdS5zYW5kYm94LnN0YXR1cy5pbQZ2XwA2Ni9ub2RlLTAxLmFjLWNuLWhvbmdrb25nLWMud2FrdS5zYW5kYm94LnN0YXR1cy5pbQYfQN4DgnJzkwABCAAAAAEAAgADAAQABQAGAAeJc2VjcDI1NmsxoQOwsS69tgD7u1K50r5-qG5hweuTwa0W26aYPnvivpNlrYN0Y3CCdl-DdWRwgiMohXdha3UyDw",
];

/// The list of nodes of Status.  Deployed: status-go's production fleet.
const STATUS_LIST: &str =
    "enrtree://AMOJVZX4V6EXP7NTJPMAYJYST2QP6AJXYW76IU6VGJS7UVSNDYZG4@boot.prod.status.nodes.status.im";

impl Preset {
    /// The Waku Network.  Spec: 64/WAKU2-NETWORK.
    pub const TWN: Self = Self {
        name: "twn",
        cluster: ClusterId(1),
        shards_in_network: 8,
        shards: &[0, 1, 2, 3, 4, 5, 6, 7],
        bridged: &[],
        timestamp_window: Some(TIMESTAMP_WINDOW),
        asks_for_proofs: true,
        bootstrap: &TWN_BOOTSTRAP,
        lists: &[],
    };

    /// The same with the parameters of proofs that 64/WAKU2-NETWORK prints, where the live network has moved on to others: another
    /// contract, on another chain. Which, whoever follows it knows by the name.
    pub const TWN_SPEC: Self = Self { name: "twn-spec", ..Self::TWN };

    /// The network of Status: communities on shard 32, personal traffic on 64.  Deployed: status-go.
    pub const STATUS: Self = Self {
        name: "status",
        cluster: ClusterId(16),
        shards_in_network: 0,
        shards: &[32, 64],
        bridged: &[64, 32],
        timestamp_window: None,
        asks_for_proofs: false,
        bootstrap: &[],
        lists: &[STATUS_LIST],
    };

    /// All of them.
    pub const ALL: [Self; 3] = [Self::TWN, Self::TWN_SPEC, Self::STATUS];

    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.name == name)
    }
}

#[cfg(test)]
mod tests {
    use devp2p::{dnsdisc::Link, enr};

    use super::*;
    use crate::discovery::enr::Node;

    #[test]
    fn the_waku_network_is_as_its_specification_says() {
        let twn = Preset::named("twn").unwrap();
        assert_eq!((twn.cluster, twn.shards_in_network, twn.shards), (ClusterId(1), 8, &[0, 1, 2, 3, 4, 5, 6, 7][..]));
        assert_eq!((twn.timestamp_window, twn.asks_for_proofs), (Some(Duration::from_secs(20)), true));
    }

    #[test]
    fn the_text_of_the_specification_has_a_name_of_its_own() {
        let spec = Preset::named("twn-spec").unwrap();
        assert_eq!(Preset { name: "twn", ..spec }, Preset::TWN);
    }

    #[test]
    fn who_is_asked_for_peers_can_be_asked() {
        let ours = |node: &Node| node.cluster().is_some_and(|cluster| cluster == ClusterId(1));
        for record in Preset::TWN.bootstrap {
            let record = enr::parse(record).unwrap();
            assert!(record.udp4_socket().is_some(), "{record}");
            assert!(Node::read(record).as_ref().is_some_and(ours));
        }
        for list in Preset::ALL.iter().flat_map(|preset| preset.lists) {
            assert!(list.parse::<Link>().is_ok(), "{list}");
        }
        assert_eq!((Preset::TWN.bootstrap.len(), Preset::STATUS.lists.len()), (3, 1));
    }

    #[test]
    fn status_is_as_deployed() {
        let status = Preset::named("status").unwrap();
        assert_eq!((status.cluster, status.shards_in_network, status.shards), (ClusterId(16), 0, &[32, 64][..]));
        assert_eq!((status.timestamp_window, status.asks_for_proofs), (None, false));
        assert_eq!(Preset::named("prod"), None);
    }
}
