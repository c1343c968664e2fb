//! Status and Status Update: what a peer announces of itself.  Spec: 5/WAKU0, "Status", "Status Update".
//!
//! Status is `[0, options]`, an update the bare `options`; options are an association list `[[key, value], ...]`. What
//! is written is exactly what status-go writes: its keys are the ASCII digits "0" to "5", hence the numbers 48 to 53 of
//! the specification. Nimbus has the integers 0 to 5, and both are read, in any order; the last of equal keys wins,
//! unknown keys and items too many are skipped. Before February 2020 the options stood by position, which is read too.
//!
//! Limits: [`crate::interest::MAX_TOPICS`] topics; the packet sets the rest.

use alloy_rlp::{Decodable, Encodable, Header};
use bytes::{Bytes, BytesMut};
use devp2p::disconnect::DisconnectReason;

use crate::{
    bloom::{BLOOM_LEN, Bloom},
    interest::{MAX_TOPICS, TooManyTopics},
    pow::{Pow, PowError},
    topic::{TOPIC_LEN, Topic},
};

/// The number in front of the options. Source: 5/WAKU0, "Status".
const PROTOCOL_VERSION: u64 = 0;

/// What status-go adds to each key: it writes the digit as text. Source: status-go `waku/v0/status_options.go`.
const KEY_BASE: u8 = b'0';

/// Length in bytes of a topic with its RLP header.
const TOPIC_RLP_LEN: usize = TOPIC_LEN + 1;

/// The options of one packet, as they stand there: absent means the default in Status, and unchanged in an update.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StatusOptions {
    /// The least proof of work that the peer wants to see.
    pub pow: Option<Pow>,
    /// The topics it wants, approximately.
    pub bloom: Option<Bloom>,
    /// Whether it forwards nothing.
    pub light: Option<bool>,
    /// Whether it reads acknowledgements.
    pub confirmations: Option<bool>,
    /// How much it wants to be sent at most.
    pub rate_limits: Option<RateLimits>,
    /// The topics it wants, exactly, in the order of the packet.
    pub topics: Option<Vec<Topic>>,
}

/// Packets a second that a peer wants at most; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateLimits {
    /// From one address.
    pub ip: u64,
    /// From one node.
    pub peer: u64,
    /// Envelopes of one topic.
    pub topic: u64,
}

/// Why a Status or an update is refused; it ends the session.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum StatusError {
    /// Not of the shape of a Status, or of options.
    #[error("not readable: {0}")]
    Shape(alloy_rlp::Error),
    /// Bytes after the list.
    #[error("{0} bytes after the list")]
    TrailingBytes(usize),
    /// A value of the wrong type.
    #[error("option {option} is not readable: {cause}")]
    Option {
        /// Which option.
        option: &'static str,
        /// What is wrong with it.
        cause: alloy_rlp::Error,
    },
    /// Another protocol version.
    #[error("protocol version {0} instead of {PROTOCOL_VERSION}")]
    Version(u64),
    /// A filter of another length; no bytes at all would be a full one.
    #[error("a bloom filter of {0} bytes")]
    BloomLength(usize),
    /// A proof of work that is no amount.
    #[error(transparent)]
    Pow(#[from] PowError),
    /// More topics than may be listed.
    #[error(transparent)]
    Topics(#[from] TooManyTopics),
}

impl StatusError {
    /// What the peer is told: a breach of the protocol for bytes that cannot be read, the subprotocol's own reason for
    /// values that can be and are refused, as status-go's handshake does.
    #[must_use]
    pub fn disconnect(&self) -> DisconnectReason {
        match self {
            Self::Shape(_) | Self::TrailingBytes(_) | Self::Option { .. } => DisconnectReason::ProtocolBreach,
            Self::Version(_) | Self::BloomLength(_) | Self::Pow(_) | Self::Topics(_) => {
                DisconnectReason::SubprotocolError
            }
        }
    }
}

impl StatusOptions {
    /// The body of a Status packet.
    #[must_use]
    pub fn encode_status(&self) -> Bytes {
        let mut items = BytesMut::new();
        PROTOCOL_VERSION.encode(&mut items);
        put_list(&mut items, &self.pairs());
        list(&items)
    }

    /// The body of a Status Update packet.
    #[must_use]
    pub fn encode_update(&self) -> Bytes {
        list(&self.pairs())
    }

    /// Reads the body of a Status packet.
    ///
    /// # Errors
    /// [`StatusError`]: the session ends.
    pub fn decode_status(body: &[u8]) -> Result<Self, StatusError> {
        let mut items = whole_list(body)?;
        if starts_with_list(items) {
            return Self::decode_pairs(items); // The body of waku/1: the peer has confused its versions.
        }
        let version = u64::decode(&mut items).map_err(StatusError::Shape)?;
        if version != PROTOCOL_VERSION {
            return Err(StatusError::Version(version));
        }
        if starts_with_list(items) {
            let pairs = Header::decode_bytes(&mut items, true).map_err(StatusError::Shape)?;
            return Self::decode_pairs(pairs); // Items after the options are for later versions of the protocol.
        }
        Self::decode_positional(items)
    }

    /// Reads the body of a Status Update packet.
    ///
    /// # Errors
    /// [`StatusError`]: the session ends.
    pub fn decode_update(body: &[u8]) -> Result<Self, StatusError> {
        Self::decode_pairs(whole_list(body)?)
    }

    /// What is different from what was announced before: the filter as a whole, everything else by itself.
    #[must_use]
    pub fn changed_since(&self, before: &Self) -> Self {
        let same_filter = (&self.bloom, &self.topics) == (&before.bloom, &before.topics);
        Self {
            pow: self.pow.filter(|_| self.pow != before.pow),
            bloom: self.bloom.filter(|_| !same_filter),
            light: self.light.filter(|_| self.light != before.light),
            confirmations: self.confirmations.filter(|_| self.confirmations != before.confirmations),
            rate_limits: self.rate_limits.filter(|_| self.rate_limits != before.rate_limits),
            topics: if same_filter { None } else { self.topics.clone() },
        }
    }

    /// The pairs without the header of their list, in ascending order of their keys: status-go fails on others.
    fn pairs(&self) -> BytesMut {
        let mut pairs = BytesMut::new();
        let rate_limits = self.rate_limits.map(|limits| limits.encode());
        let topics = self.topics.as_ref().map(|topics| encode_topics(topics));
        put_pair(&mut pairs, 0, self.pow.map(|pow| pow.value().to_bits()).as_ref());
        put_pair(&mut pairs, 1, self.bloom.as_ref().map(|bloom| bloom.as_bytes().as_slice()).as_ref());
        put_pair(&mut pairs, 2, self.light.as_ref());
        put_pair(&mut pairs, 3, self.confirmations.as_ref());
        put_pair(&mut pairs, 4, rate_limits.as_ref());
        put_pair(&mut pairs, 5, topics.as_ref());
        pairs
    }

    fn decode_pairs(mut pairs: &[u8]) -> Result<Self, StatusError> {
        let mut options = Self::default();
        while !pairs.is_empty() {
            let mut pair = Header::decode_bytes(&mut pairs, true).map_err(StatusError::Shape)?;
            let key = Header::decode_bytes(&mut pair, false).map_err(StatusError::Shape)?;
            options.read(option_number(key), &mut pair)?;
        }
        Ok(options)
    }

    /// The options by position, all of them optional. Spoken until February 2020.
    fn decode_positional(mut items: &[u8]) -> Result<Self, StatusError> {
        let mut options = Self::default();
        for number in 0..5 {
            if items.is_empty() {
                break;
            }
            options.read(Some(number), &mut items)?;
        }
        // Any few letters would be a double, but one that is not normal is far below any real requirement.
        match options.pow {
            Some(pow) if pow.value().is_subnormal() => Err(StatusError::Shape(alloy_rlp::Error::UnexpectedString)),
            _ => Ok(options),
        }
    }

    /// Reads the value of one option off the front. Unknown options are skipped, whatever their value.
    fn read(&mut self, number: Option<u8>, items: &mut &[u8]) -> Result<(), StatusError> {
        match number {
            Some(0) => self.pow = Some(decode_pow(items)?),
            Some(1) => self.bloom = Some(decode_bloom(items)?),
            Some(2) => self.light = Some(bool::decode(items).map_err(in_option("light-node"))?),
            Some(3) => self.confirmations = Some(bool::decode(items).map_err(in_option("confirmations-enabled"))?),
            Some(4) => self.rate_limits = Some(RateLimits::decode(items).map_err(in_option("rate-limits"))?),
            Some(5) => self.topics = Some(decode_topics(items)?),
            _ => {}
        }
        Ok(())
    }
}

impl RateLimits {
    /// The RLP list.
    fn encode(self) -> EncodedList {
        let mut items = BytesMut::new();
        [self.ip, self.peer, self.topic].iter().for_each(|limit| limit.encode(&mut items));
        EncodedList(list(&items))
    }

    fn decode(items: &mut &[u8]) -> alloy_rlp::Result<Self> {
        let mut limits = Header::decode_bytes(items, true)?;
        let mut next = || u64::decode(&mut limits);
        let decoded = Self { ip: next()?, peer: next()?, topic: next()? };
        if limits.is_empty() { Ok(decoded) } else { Err(alloy_rlp::Error::UnexpectedLength) }
    }
}

/// A list that is RLP already.
struct EncodedList(Bytes);

impl Encodable for EncodedList {
    fn length(&self) -> usize {
        self.0.len()
    }

    fn encode(&self, out: &mut dyn alloy_rlp::BufMut) {
        out.put_slice(&self.0);
    }
}

fn encode_topics(topics: &[Topic]) -> EncodedList {
    let mut items = BytesMut::with_capacity(topics.len() * TOPIC_RLP_LEN);
    topics.iter().for_each(|topic| topic.0.encode(&mut items));
    EncodedList(list(&items))
}

fn put_pair(pairs: &mut BytesMut, number: u8, value: Option<&impl Encodable>) {
    let Some(value) = value else { return };
    Header { list: true, payload_length: 1 + value.length() }.encode(pairs);
    (KEY_BASE + number).encode(pairs);
    value.encode(pairs);
}

fn put_list(out: &mut BytesMut, items: &[u8]) {
    Header { list: true, payload_length: items.len() }.encode(out);
    out.extend_from_slice(items);
}

fn list(items: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    put_list(&mut out, items);
    out.freeze()
}

/// The items of a body that is one list and nothing else.
fn whole_list(body: &[u8]) -> Result<&[u8], StatusError> {
    let mut after = body;
    let items = Header::decode_bytes(&mut after, true).map_err(StatusError::Shape)?;
    if after.is_empty() { Ok(items) } else { Err(StatusError::TrailingBytes(after.len())) }
}

/// Whether the next item is a list.
fn starts_with_list(items: &[u8]) -> bool {
    items.first().is_some_and(|first| *first >= alloy_rlp::EMPTY_LIST_CODE)
}

/// The number of an option by its key: the ASCII digit of status-go or the integer of Nimbus.
fn option_number(key: &[u8]) -> Option<u8> {
    match key {
        [] => Some(0), // The integer 0.
        [integer @ 1..=5] => Some(*integer),
        [digit @ b'0'..=b'5'] => Some(digit - KEY_BASE),
        _ => None,
    }
}

fn decode_pow(items: &mut &[u8]) -> Result<Pow, StatusError> {
    let bits = u64::decode(items).map_err(in_option("pow-requirement"))?;
    Ok(Pow::new(f64::from_bits(bits))?)
}

fn decode_bloom(items: &mut &[u8]) -> Result<Bloom, StatusError> {
    let bytes = Header::decode_bytes(items, false).map_err(in_option("bloom-filter"))?;
    if bytes.is_empty() {
        return Ok(Bloom::FULL); // As status-go does.
    }
    let bytes: [u8; BLOOM_LEN] = bytes.try_into().map_err(|_| StatusError::BloomLength(bytes.len()))?;
    Ok(Bloom::from_bytes(bytes))
}

fn decode_topics(items: &mut &[u8]) -> Result<Vec<Topic>, StatusError> {
    let mut rest = Header::decode_bytes(items, true).map_err(in_option("topic-interest"))?;
    let count = rest.len() / TOPIC_RLP_LEN;
    if count > MAX_TOPICS {
        return Err(TooManyTopics(count).into());
    }
    let mut topics = Vec::with_capacity(count);
    while !rest.is_empty() {
        topics.push(Topic(<[u8; TOPIC_LEN]>::decode(&mut rest).map_err(in_option("topic-interest"))?));
    }
    Ok(topics)
}

fn in_option(option: &'static str) -> impl Fn(alloy_rlp::Error) -> StatusError {
    move |cause| StatusError::Option { option, cause }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn bytes(value: &Value) -> Vec<u8> {
        hex::decode(value.as_str().unwrap()).unwrap()
    }

    fn pow(value: f64) -> Option<Pow> {
        Some(Pow::new(value).unwrap())
    }

    /// The options that a recorded case describes. An empty bloom is a full one.
    fn described(options: &Value) -> StatusOptions {
        let number = |value: &Value| value.as_u64().unwrap();
        StatusOptions {
            pow: options["pow_bits"]
                .as_str()
                .map(|bits| Pow::new(f64::from_bits(u64::from_str_radix(bits, 16).unwrap())).unwrap()),
            bloom: options.get("bloom").map(|bloom| match bytes(bloom).as_slice() {
                [] => Bloom::FULL,
                bytes => Bloom::from_bytes(bytes.try_into().unwrap()),
            }),
            light: options["light"].as_bool(),
            confirmations: options["confirmations"].as_bool(),
            rate_limits: options["rate_limits"].as_array().map(|limits| RateLimits {
                ip: number(&limits[0]),
                peer: number(&limits[1]),
                topic: number(&limits[2]),
            }),
            topics: options["topics"]
                .as_array()
                .map(|topics| topics.iter().map(|topic| topic.as_str().unwrap().parse().unwrap()).collect()),
        }
    }

    fn recorded() -> Value {
        serde_json::from_str(include_str!("../../fixtures/status/status.json")).unwrap()
    }

    #[test]
    fn printed_vectors() {
        assert_eq!(hex::encode(StatusOptions::default().encode_status()), "c280c0");
        let of_status_go = StatusOptions {
            pow: pow(0.002),
            light: Some(false),
            confirmations: Some(false),
            rate_limits: Some(RateLimits::default()),
            ..Default::default()
        };
        assert_eq!(hex::encode(of_status_go.encode_status()), "d980d7ca30883f60624dd2f1a9fcc23280c23380c534c3808080");
        let full = StatusOptions { pow: pow(0.000_002), bloom: Some(Bloom::FULL), ..of_status_go };
        assert_eq!(
            hex::encode(full.encode_status()),
            format!("f85f80f85cca30883ec0c6f7a0b5ed8df84331b840{}c23280c23380c534c3808080", "ff".repeat(64))
        );
        let everything = StatusOptions {
            pow: pow(6.02),
            bloom: Some(Bloom::from_iter([Topic([0xaa, 0xbb, 0xcc, 0xdd])])),
            light: Some(true),
            confirmations: Some(true),
            rate_limits: Some(RateLimits { ip: 10, peer: 5, topic: 1 }),
            topics: Some((1..=4).map(|i| Topic([i, 0, 0, 0])).collect()),
        };
        let expected = "f873ca30884018147ae147ae14f84331b840\
            0000000000000000000000000000000000000000000000080000000000000000\
            0000000000000000000000000000000000000000000400000010000000000000\
            c23201c23301c534c30a0501d635d48401000000840200000084030000008404000000";
        assert_eq!(hex::encode(everything.encode_update()), expected);
    }

    #[test]
    fn printed_updates() {
        let update = |value| StatusOptions { pow: pow(value), ..Default::default() }.encode_update();
        assert_eq!(hex::encode(update(1.0)), "cbca30883ff0000000000000");
        assert_eq!(hex::encode(update(2.05)), "cbca30884000666666666666");
        let nothing = StatusOptions { topics: Some(vec![]), ..Default::default() };
        assert_eq!(hex::encode(nothing.encode_update()), "c3c235c0");
        assert_eq!(StatusOptions::decode_update(&[0xc0]).unwrap(), StatusOptions::default());
    }

    /// The waku/0 side of every recorded list of options. The waku/1 side waits for that version.
    #[test]
    fn every_recorded_list_of_options() {
        let recorded = recorded();
        let cases = recorded["options"].as_array().unwrap();
        assert_eq!(cases.len(), 84);
        for case in cases {
            let options = described(&case["options"]);
            assert_eq!(options.encode_status(), bytes(&case["v0_status_rlp"]), "{case}");
            assert_eq!(options.encode_update(), bytes(&case["v0_options_rlp"]), "{case}");
            assert_eq!(options.encode_update(), bytes(&case["v0_status_update_rlp"]), "{case}");
            assert_eq!(StatusOptions::decode_status(&options.encode_status()).unwrap(), options, "{case}");
            assert_eq!(StatusOptions::decode_update(&options.encode_update()).unwrap(), options, "{case}");
        }
    }

    /// What status-go announces with each of its settings, by the table of what it then sends.
    #[test]
    fn every_recorded_node() {
        let recorded = recorded();
        let hosts = recorded["hosts"].as_array().unwrap();
        assert_eq!(hosts.len(), 12);
        for host in hosts {
            let config = &host["config"];
            let [full_node, bloom_mode] = ["full_node", "bloom_filter_mode"].map(|key| config[key].as_bool().unwrap());
            let limited = RateLimits { ip: 10, peer: 5, topic: 0 };
            let told = described(config);
            let options = StatusOptions {
                pow: pow(config["min_pow"].as_f64().unwrap()),
                bloom: if full_node { Some(Bloom::FULL) } else { told.bloom },
                rate_limits: Some(config.get("rate_limiter").map_or_else(RateLimits::default, |_| limited)),
                topics: told.topics.filter(|_| !full_node && !bloom_mode),
                ..told
            };
            assert_eq!(options.encode_status(), bytes(&host["v0_status_rlp"]), "{host}");
            assert_eq!(StatusOptions::decode_status(&options.encode_status()).unwrap(), options, "{host}");
        }
    }

    /// Where our rule is not what status-go's decoder made of it.
    enum Rule {
        Reads(StatusOptions),
        Refuses,
        AsRecorded,
    }

    fn our_rule(description: &str) -> Rule {
        let reads_pow = || Rule::Reads(StatusOptions { pow: pow(0.064), ..Default::default() });
        match description {
            "pow, integer key (v1 style)"
            | "unknown first key 9"
            | "unknown integer key 9"
            | "three items in a pair" => reads_pow(),
            "light true, integer key 2" => Rule::Reads(StatusOptions { light: Some(true), ..Default::default() }),
            "bloom of 63 bytes" | "NaN" | "negative pow" | "Inf" | "10001 topics" => Rule::Refuses,
            _ => Rule::AsRecorded,
        }
    }

    #[test]
    fn every_recorded_decoding() {
        let recorded: Value = serde_json::from_str(include_str!("../../fixtures/status/status_decode.json")).unwrap();
        let cases = recorded.as_array().unwrap();
        assert_eq!(cases.len(), 31);
        let mut differing = 0;
        for case in cases {
            let description = case["desc"].as_str().unwrap();
            let expected = match our_rule(description) {
                Rule::Reads(options) => Some(options),
                Rule::Refuses => None,
                Rule::AsRecorded => {
                    assert_eq!(case["v0"]["ok"], case["v0_in_status"]["ok"], "{description}");
                    differing -= 1;
                    case["v0"]["ok"].as_bool().unwrap().then(|| described(&case["v0"]["options"]))
                }
            };
            differing += 1;
            assert_eq!(StatusOptions::decode_update(&bytes(&case["rlp"])).ok(), expected, "{description}");
            let status = StatusOptions::decode_status(&bytes(&case["v0_in_status"]["rlp"]));
            assert_eq!(status.ok(), expected, "{description} in Status");
        }
        assert_eq!(differing, 10);
    }

    #[test]
    fn values_are_refused_with_the_handshakes_reason_and_bytes_as_a_breach() {
        let refusal = |body: &str| StatusOptions::decode_status(&hex::decode(body).unwrap()).unwrap_err();
        assert_eq!(refusal("c201c0"), StatusError::Version(1));
        assert_eq!(refusal("c201c0").disconnect(), DisconnectReason::SubprotocolError);
        assert!(matches!(refusal("cd80cbca30887ff0000000000000"), StatusError::Pow(_)));
        assert!(matches!(refusal("c880c6c531830000ff"), StatusError::BloomLength(3)));
        assert!(matches!(refusal("c580c3c23202"), StatusError::Option { option: "light-node", .. }));
        assert_eq!(refusal("c580c3c23202").disconnect(), DisconnectReason::ProtocolBreach);
        assert_eq!(refusal("c280c000"), StatusError::TrailingBytes(1));
        assert!(matches!(refusal("c0"), StatusError::Shape(_)));
        assert!(matches!(refusal("80"), StatusError::Shape(_)));
        let crowd = StatusOptions { topics: Some(vec![Topic([0; 4]); MAX_TOPICS + 1]), ..Default::default() };
        let refused = StatusOptions::decode_status(&crowd.encode_status()).unwrap_err();
        assert_eq!(refused, StatusError::Topics(TooManyTopics(10_001)));
    }

    #[test]
    fn items_after_the_options_and_a_body_of_the_next_version_are_read() {
        let light = StatusOptions { light: Some(true), ..Default::default() };
        let read = |body: &str| StatusOptions::decode_status(&hex::decode(body).unwrap()).unwrap();
        assert_eq!(read("c980c3c2320183616263"), light);
        assert_eq!(read("c3c20201"), light);
    }

    #[test]
    fn options_by_position_are_read_as_far_as_they_go() {
        let read = |body: &str| StatusOptions::decode_status(&hex::decode(body).unwrap()).unwrap();
        assert_eq!(read("c180"), StatusOptions::default());
        assert_eq!(read("ca80883f60624dd2f1a9fc"), StatusOptions { pow: pow(0.002), ..Default::default() });
        let body = format!("f85280883f60624dd2f1a9fcb840{}8001c30a0501", "ff".repeat(64));
        let all = StatusOptions {
            pow: pow(0.002),
            bloom: Some(Bloom::FULL),
            light: Some(false),
            confirmations: Some(true),
            rate_limits: Some(RateLimits { ip: 10, peer: 5, topic: 1 }),
            topics: None,
        };
        assert_eq!(read(&body), all);
    }

    fn any_options() -> impl Strategy<Value = StatusOptions> {
        let pow = proptest::option::of((0.0..1e9f64).prop_map(|value| Pow::new(value).unwrap()));
        let bloom = proptest::option::of(
            proptest::collection::vec(any::<u8>(), BLOOM_LEN)
                .prop_map(|bytes| Bloom::from_bytes(bytes.try_into().unwrap())),
        );
        let limits =
            proptest::option::of(any::<[u64; 3]>().prop_map(|[ip, peer, topic]| RateLimits { ip, peer, topic }));
        let topics = proptest::option::of(proptest::collection::vec(any::<[u8; 4]>().prop_map(Topic), 0..40));
        (pow, bloom, any::<Option<bool>>(), any::<Option<bool>>(), limits, topics).prop_map(
            |(pow, bloom, light, confirmations, rate_limits, topics)| StatusOptions {
                pow,
                bloom,
                light,
                confirmations,
                rate_limits,
                topics,
            },
        )
    }

    proptest! {
        /// A peer that applies the difference stands where it would have been told everything.
        #[test]
        fn a_difference_is_enough(before in any_options(), after in any_options()) {
            prop_assert_eq!(after.changed_since(&after), StatusOptions::default());
            let changed = after.changed_since(&before);
            prop_assert!(changed.pow.is_none() || changed.pow != before.pow);
            prop_assert!(changed.light.is_none() || changed.light != before.light);
            prop_assert!(after.pow.is_none() || changed.pow.or(before.pow) == after.pow);
            prop_assert!(after.rate_limits.is_none() || changed.rate_limits.or(before.rate_limits) == after.rate_limits);
        }

        #[test]
        fn what_is_written_is_read(options in any_options()) {
            prop_assert_eq!(StatusOptions::decode_status(&options.encode_status()), Ok(options.clone()));
            prop_assert_eq!(StatusOptions::decode_update(&options.encode_update()), Ok(options));
        }

        #[test]
        fn no_bytes_make_it_panic(body: Vec<u8>) {
            let _ = StatusOptions::decode_status(&body);
            let _ = StatusOptions::decode_update(&body);
        }

        #[test]
        fn no_damage_makes_it_panic(options in any_options(), at: prop::sample::Index, byte: u8) {
            let mut body = options.encode_status().to_vec();
            let at = at.index(body.len());
            body[at] = byte;
            let _ = StatusOptions::decode_status(&body);
        }
    }
}
