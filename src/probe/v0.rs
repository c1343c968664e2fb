//! What the waku/0 side counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use waku0::{PeerInfo, limits::Meter, version::Version};

use super::{Amount, Reading, Sample, counter, devp2p, gauge, looks_like_a_bridge, read};
use crate::{
    discovery::{Found, Sources},
    storage::accounts::Ledger,
};

/// What of the waku/0 side is looked at.
#[derive(Debug)]
pub(crate) struct V0Probe {
    /// The node.
    pub(crate) node: waku0::Handle,
    /// Its accounts.
    pub(crate) ledger: Ledger,
    /// devp2p peers that have room.
    pub(crate) max_peers: usize,
    /// What discovery has found.
    pub(crate) found: Sources,
}

impl V0Probe {
    /// Adds what is seen here.
    pub(super) async fn read(&self, reading: &mut Reading) {
        let peers = self.node.peers().await;
        let mut samples = self.v1_peers(&peers);
        samples.extend(devp2p::samples(&self.node, &peers, self.max_peers));
        samples.extend(self.envelopes());
        samples.extend(self.as_statusd());
        samples.extend(self.packets());
        samples.extend(self.connections());
        samples.extend(self.discovered());
        let v1_peers = self.node.counters().peers.load(Relaxed);
        reading.v1_peers = Some(usize::try_from(v1_peers).unwrap_or(usize::MAX));
        reading.samples.extend(samples);
    }

    fn v1_peers(&self, peers: &[PeerInfo]) -> Vec<Sample> {
        let running = |version, inbound| {
            let counts =
                |peer: &&PeerInfo| peer.options.is_some() && peer.version == version && peer.inbound == inbound;
            peers.iter().filter(counts).count() as u64
        };
        let sample = |version: Version, direction: &str, inbound| Sample {
            labels: vec![("protocol", version.to_string()), ("dir", direction.into())],
            ..gauge("v1_peers", "waku/0 peers whose Status was exchanged, by who dialled", running(version, inbound))
        };
        let both = |version| [sample(version, "in", true), sample(version, "out", false)];
        let mut samples: Vec<Sample> = Version::ALL.into_iter().flat_map(both).collect();
        let bridges = peers.iter().filter(|peer| looks_like_a_bridge(&peer.client_id)).count() as u64;
        samples.push(gauge("v1_bridge_peers", "waku/0 peers whose client has a name that bridges have", bridges));
        samples
    }

    fn envelopes(&self) -> Vec<Sample> {
        let c = self.node.counters();
        let mut samples = vec![
            counter("waku_envelopes_received", "Envelopes read from peers, whatever became of them", read(&c.received)),
            counter("waku_envelopes_validated", "New envelopes taken from peers", read(&c.validated)),
            counter("waku_envelopes_duplicate", "Envelopes that were here before", read(&c.duplicates)),
            counter("waku_envelopes_forwarded", "Copies of envelopes handed to connections", read(&c.forwarded)),
            counter("waku_envelopes_posted", "Own envelopes taken", read(&c.posted)),
            counter("waku_envelopes_expired", "Envelopes whose time was over", read(&c.expired)),
            counter("waku_envelopes_throttled", "Copies that waited because of a peer's limits", read(&c.throttled)),
            counter("waku_envelopes_unsendable", "Envelopes that fit no packet that may be sent", read(&c.unsendable)),
            counter("waku_envelope_events_shed", "Envelopes that the bridge was too busy for", read(&c.events_shed)),
            gauge("waku_envelopes_pooled", "Live envelopes", read(&c.pooled)),
            gauge("waku_envelopes_pooled_bytes", "Bytes of live envelopes", read(&c.pooled_bytes)),
        ];
        // By the names of the old bridge too.
        samples.push(counter("envelopes_valid", "New envelopes taken from peers", read(&c.validated)));
        let duplicates = [("duplicate", read(&c.duplicates))];
        samples.extend(c.rejected.by_reason().chain(duplicates).map(|(reason, n)| Sample {
            labels: vec![("reason", reason.into())],
            ..counter("envelopes_dropped", "Envelopes not taken, or here before", n)
        }));
        samples.extend(c.rejected.by_reason().map(|(reason, n)| Sample {
            labels: vec![("reason", reason.into())],
            ..counter("waku_envelopes_rejected", "Envelopes not taken", n)
        }));
        samples.extend([("hit", &c.duplicates), ("miss", &c.validated)].map(|(cache, n)| Sample {
            labels: vec![("cache", cache.into())],
            ..counter("waku_envelopes_cached", "Envelopes that were here before, and new ones", read(n))
        }));
        let posts = [
            ("acknowledged", &c.posts_acknowledged),
            ("refused", &c.posts_refused),
            ("unanswered", &c.posts_unanswered),
        ];
        samples.extend(posts.map(|(outcome, n)| Sample {
            labels: vec![("outcome", outcome.into())],
            ..counter("waku_posts_ended", "Own envelopes by what peers that confirm said of them", read(n))
        }));
        samples
    }

    /// What statusd counts beside these.
    fn as_statusd(&self) -> Vec<Sample> {
        let c = self.node.counters();
        // Its words for why an envelope is not kept; it has none for what cannot be read, has no time to live, or finds no room.
        let failures = [
            ("in_future", &c.rejected.future),
            ("very_old", &c.rejected.very_old),
            ("expired", &c.rejected.expired),
            ("oversized", &c.rejected.too_large),
            ("low_pow", &c.rejected.low_pow),
            ("no_bloom_match", &c.rejected.not_wanted),
        ];
        let mut samples: Vec<Sample> = failures
            .into_iter()
            .map(|(kind, n)| Sample {
                labels: vec![("type", kind.into())],
                ..counter("waku_envelopes_cache_failures", "Envelopes not taken, in the words of statusd", read(n))
            })
            .collect();
        let buckets: Vec<(f64, u64)> = c.sizes.classes().collect();
        let count = buckets.iter().map(|(_, n)| n).sum();
        samples.push(Sample {
            name: "waku_envelopes_size_bytes",
            help: "New envelopes taken from peers, by length",
            labels: Vec::new(),
            amount: Amount::Histogram { sum: c.sizes.bytes() as f64, count, buckets },
        });
        samples.push(counter(
            "waku_rate_limits_processed",
            "Packets that were held against the limits of peers",
            read(&c.metered),
        ));
        let exceeded =
            [("peer_id", [Meter::PeerPackets, Meter::PeerBytes]), ("ip", [Meter::IpPackets, Meter::IpBytes])];
        samples.extend(exceeded.map(|(kind, meters)| Sample {
            labels: vec![("type", kind.into())],
            ..counter(
                "waku_rate_limits_exceeded",
                "What was beyond the limit of a peer or of its address",
                meters.into_iter().map(|meter| c.excess.of(meter)).sum(),
            )
        }));
        samples
    }

    fn packets(&self) -> Vec<Sample> {
        let c = self.node.counters();
        let (confirmed, lost) = (read(&c.batches_confirmed), read(&c.epochs_shed));
        let mut samples = vec![
            counter("waku_batches_confirmed", "Packets of envelopes that were acknowledged", confirmed),
            counter("waku_updates_sent", "Status Updates handed to connections", read(&c.updates_sent)),
            counter("waku_accounting_lost", "Epochs of accounts lost because the database is behind", lost),
            counter("waku_accounting_failures", "Writes of accounts that failed", self.ledger.failures()),
            counter("v1_faults", "waku/0 peers left for a fault", read(&c.faults)),
            counter("v1_peers_rotated", "waku/0 peers left for a better one", read(&c.rotated)),
            gauge("connected_peers", "waku/0 peers whose Status was exchanged", read(&c.peers)),
            gauge("rlpx_connected_peers", "waku/0 peers whose Status was exchanged", read(&c.peers)),
        ];
        samples.extend(c.disconnects.by_reason().map(|(reason, n)| Sample {
            labels: vec![("reason", reason.into())],
            ..counter(
                "v1_disconnects",
                "waku/0 peers that are gone, by the devp2p reason that either side gave, or nearest",
                n,
            )
        }));
        let ignored = [
            ("unknown_code", &c.ignored_packets),
            ("request", &c.requests_ignored),
            ("untrusted_p2p", &c.p2p_untrusted),
            ("answer", &c.answers_ignored),
            ("request_shed", &c.requests_shed),
        ];
        samples.extend(ignored.map(|(kind, n)| Sample {
            labels: vec![("kind", kind.into())],
            ..counter("waku_packets_ignored", "Packets passed over", read(n))
        }));
        samples.extend(Meter::ALL.map(|meter| Sample {
            labels: vec![("meter", meter.name().into())],
            ..counter("v1_rate_limit_excess", "What waku/0 peers sent beyond their limits", c.excess.of(meter))
        }));
        let left = [("too_slow", &c.too_slow), ("over_rate", &c.over_rate)];
        samples.extend(left.map(|(why, n)| Sample {
            labels: vec![("reason", why.into())],
            ..counter("v1_peers_left", "waku/0 peers left, by what matters to an operator", read(n))
        }));
        samples
    }

    fn connections(&self) -> Vec<Sample> {
        let (connections, memory) = (self.node.connections(), self.node.read_memory());
        let states = [
            ("pending_inbound", connections.pending_inbound),
            ("hello_exchanged", connections.peers),
            ("all", connections.all),
        ];
        let mut samples: Vec<Sample> = states
            .into_iter()
            .map(|(state, n)| Sample {
                labels: vec![("state", state.into())],
                ..gauge("v1_connections", "devp2p connections, from the TCP connect on", n as u64)
            })
            .collect();
        let (now, peak) = (memory.bytes as u64, memory.peak_bytes as u64);
        samples.push(gauge("v1_read_memory_bytes", "Memory for waku/0 packets on their way in, of --read-budget", now));
        samples.push(gauge("v1_read_memory_peak_bytes", "Most of it at any time so far", peak));
        samples
    }

    /// Only of what runs.
    fn discovered(&self) -> Vec<Sample> {
        let sources = [("discv4", &self.found.discv4), ("dns", &self.found.dns)];
        let running = || sources.iter().filter_map(|(name, found)| Some((*name, found.as_ref()?)));
        let family = |metric, help, count: fn(&Found) -> &AtomicU64| {
            running().map(move |(source, found)| Sample {
                labels: vec![("source", source.into())],
                ..counter(metric, help, read(count(found)))
            })
        };
        let found = family("v1_discovered", "waku/0 nodes found, or found anew with a new address", |f| &f.nodes);
        let unusable =
            family("v1_discovered_unusable", "Of these, nodes without an address or a TCP port", |f| &f.unusable);
        let left_out =
            family("v1_discovered_left_out", "Of these, nodes that came too fast to be looked at", |f| &f.left_out);
        found.chain(unusable).chain(left_out).collect()
    }
}
