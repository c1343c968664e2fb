//! What relay carried, by the names of nwaku and of its libp2p.

use waku2::{PubsubTopic, traffic::Carried};

use super::{Amount, Sample, counter, gauge, read};

/// Of all topics, and of each that is relayed.
pub(super) fn samples(node: &waku2::Handle) -> Vec<Sample> {
    let counters = node.counters();
    let (success, failure) = (read(&counters.accepted), counters.rejected_total());
    let mut samples = vec![
        sizes(node),
        gauge("libp2p_pubsub_topics", "Topics that are relayed", node.health().len() as u64),
        counter("libp2p_pubsub_subscriptions", "Topics joined since the start", read(&counters.joined)),
        counter("libp2p_pubsub_unsubscriptions", "Topics left since the start", read(&counters.left)),
        counter("libp2p_pubsub_validation_success", "Messages accepted", success),
        counter("libp2p_pubsub_validation_failure", "Messages rejected", failure),
        counter("libp2p_pubsub_validation_ignore", "Messages ignored", counters.ignored_total()),
    ];
    samples.extend([("in", &counters.wire.bytes_in), ("out", &counters.wire.bytes_out)].map(|(direction, bytes)| {
        Sample {
            labels: vec![("direction", direction.to_owned())],
            ..counter("libp2p_network_bytes", "Bytes of all connections, encrypted", read(bytes))
        }
    }));
    samples.extend(by_topic(node));
    samples
}

fn sizes(node: &waku2::Handle) -> Sample {
    let traffic = &node.counters().traffic;
    let buckets = traffic.sizes();
    let count = buckets.iter().map(|(_, count)| count).sum();
    Sample {
        name: "waku_histogram_message_size",
        help: "Accepted messages by their kilobytes",
        labels: Vec::new(),
        amount: Amount::Histogram { sum: traffic.kilobytes(), count, buckets },
    }
}

/// Each message once is `net` as nwaku calls it; `gross` has all that gossip repeats, and what was not accepted.
fn by_topic(node: &waku2::Handle) -> Vec<Sample> {
    let topics = node.counters().traffic.topics();
    let bytes = |topic: &PubsubTopic, kind: &str, incoming, outgoing| {
        [("in", incoming), ("out", outgoing)].map(|(direction, bytes)| Sample {
            labels: vec![("topic", topic.to_string()), ("type", kind.to_owned()), ("direction", direction.to_owned())],
            ..counter(
                "waku_relay_network_bytes",
                "Bytes of messages: net each once, gross with what is repeated",
                bytes,
            )
        })
    };
    let net = topics.iter().flat_map(|(topic, carried)| bytes(topic, "net", carried.bytes_in, carried.bytes_out));
    let gross = node.counters().gross.topics().into_iter();
    let gross = gross.flat_map(|(topic, carried)| bytes(&topic, "gross", carried.incoming, carried.outgoing));
    let family = |name, help, amount: fn(&Carried) -> u64| {
        topics.iter().map(move |(topic, carried)| Sample {
            labels: vec![("shard", topic.to_string())],
            ..gauge(name, help, amount(carried))
        })
    };
    let all = family("waku_relay_total_msg_bytes_per_shard", "Bytes of all messages of a topic", Carried::bytes);
    let largest = family("waku_relay_max_msg_bytes_per_shard", "Its largest message", |carried| carried.largest);
    let average = family("waku_relay_avg_msg_bytes_per_shard", "Its messages on average", Carried::average);
    net.chain(gross).chain(all).chain(largest).chain(average).collect()
}
