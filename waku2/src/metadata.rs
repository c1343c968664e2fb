//! Metadata: two nodes tell each other their cluster and shards on first contact.  Spec: 66/WAKU2-METADATA.
//!
//! One length-prefixed request, one length-prefixed response, of one shape. A peer that does not answer, names no
//! cluster or another one is left (64/WAKU2-NETWORK); different shards alone are no reason. The answer never waits for
//! the other side to close its half: js-waku keeps it open.

use std::{collections::BTreeSet, io};

use bytes::Bytes;
use futures::{AsyncRead, AsyncWrite};
use libp2p::{StreamProtocol, request_response};
use prost::Message as _;

use crate::{
    service::frame::{FrameError, expect_frame, write_frame},
    shard::ClusterId,
};

/// The protocol id of metadata.
pub const PROTOCOL: StreamProtocol = StreamProtocol::new("/vac/waku/metadata/1.0.0");

/// Longest message, in bytes, its prefix not counted.  Deployed: nwaku, each way.
pub const MAX_FRAME_BYTES: usize = 1_024;

/// Field 3 without a shard, which proto3 would leave out and nwaku does not.
const EMPTY_PACKED_SHARDS: [u8; 2] = [0x1a, 0x00];

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// Its network; a peer that names none is left.
    pub cluster: Option<ClusterId>,
    /// The shards it relays, ascending, each once.
    pub shards: Vec<u16>,
}

/// Why bytes are no metadata. The peer is left; the operator reads it in the log.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MetadataError {
    /// No protobuf, or a field of the wrong type.
    #[error("not a protobuf message: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// No such cluster can exist: it has 16 bits.
    #[error("cluster {0} is out of range")]
    Cluster(u32),
    /// No such shard can exist: it has 16 bits.
    #[error("shard {0} is out of range")]
    Shard(u32),
}

impl Metadata {
    /// Reads the message. Shards come unpacked or packed in field 2, packed in field 3 (nwaku), or in several of these: the
    /// union counts.
    ///
    /// # Errors
    /// See [`MetadataError`].
    pub fn decode(message: &[u8]) -> Result<Self, MetadataError> {
        let wire = Wire::decode(message)?;
        let cluster = wire.cluster.map(|id| u16::try_from(id).map_err(|_| MetadataError::Cluster(id))).transpose()?;
        let shards: BTreeSet<u16> = wire
            .shards
            .iter()
            .chain(&wire.packed_shards)
            .map(|shard| u16::try_from(*shard).map_err(|_| MetadataError::Shard(*shard)))
            .collect::<Result<_, _>>()?;
        Ok(Self { cluster: cluster.map(ClusterId), shards: shards.into_iter().collect() })
    }

    /// Writes the message as nwaku does: field 1, each shard in field 2, all of them packed in field 3, even none.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let shards: Vec<u32> = self.shards.iter().copied().map(u32::from).collect();
        let cluster = self.cluster.map(|ClusterId(id)| id.into());
        let mut out = Wire { cluster, packed_shards: shards.clone(), shards }.encode_to_vec();
        if self.shards.is_empty() {
            out.extend_from_slice(&EMPTY_PACKED_SHARDS);
        }
        out.into()
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct Wire {
    #[prost(uint32, optional, tag = "1")]
    cluster: Option<u32>,
    #[prost(uint32, repeated, packed = "false", tag = "2")]
    shards: Vec<u32>,
    #[prost(uint32, repeated, tag = "3")]
    packed_shards: Vec<u32>,
}

/// Metadata over a stream.
#[derive(Debug, Clone, Default)]
pub struct Codec;

impl request_response::Codec for Codec {
    type Protocol = StreamProtocol;
    type Request = Metadata;
    type Response = Metadata;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Metadata>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Metadata>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Metadata) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &request).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, response: Metadata) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &response).await
    }
}

async fn read(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Metadata> {
    let message = expect_frame(io, MAX_FRAME_BYTES).await?;
    Metadata::decode(&message).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

async fn write(io: &mut (impl AsyncWrite + Unpin), metadata: &Metadata) -> io::Result<()> {
    let message = metadata.encode();
    if message.len() > MAX_FRAME_BYTES {
        return Err(FrameError::TooLong { cap: MAX_FRAME_BYTES }.into());
    }
    write_frame(io, &message).await
}

#[cfg(test)]
mod tests {
    use futures::{executor::block_on, io::Cursor};
    use proptest::prelude::*;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    fn cluster_1() -> Metadata {
        Metadata { cluster: Some(ClusterId(1)), shards: (0..8).collect() }
    }

    #[test]
    fn known_answers() {
        let nwaku = hex("1c0801100010011002100310041005100610071a080001020304050607");
        let proto3 = hex("0c080112080001020304050607");
        let mut written = Vec::new();
        block_on(write(&mut written, &cluster_1())).unwrap();
        assert_eq!(written, nwaku);
        for frame in [nwaku, proto3] {
            assert_eq!(block_on(read(&mut Cursor::new(frame))).unwrap(), cluster_1());
        }
    }

    #[test]
    fn three_forms_of_shards_are_united() {
        // Packed field 3 with 2 and 5, unpacked field 2 with 1, packed field 2 with 5 and 9.
        let message = hex("0800 1a020205 1001 12020509".replace(' ', "").as_str());
        let read = Metadata::decode(&message).unwrap();
        assert_eq!(read, Metadata { cluster: Some(ClusterId(0)), shards: vec![1, 2, 5, 9] });
    }

    #[test]
    fn absent_is_not_zero() {
        assert_eq!(Metadata::decode(&[]).unwrap(), Metadata::default());
        assert_eq!(Metadata::default().encode(), hex("1a00"));
        let zero = Metadata { cluster: Some(ClusterId(0)), shards: vec![] };
        assert_eq!(zero.encode(), hex("08001a00"));
        assert_eq!(Metadata::decode(&zero.encode()).unwrap(), zero);
    }

    #[test]
    fn refusals_by_cause() {
        assert_eq!(Metadata::decode(&hex("08808004")), Err(MetadataError::Cluster(65_536)));
        assert_eq!(Metadata::decode(&hex("10808004")), Err(MetadataError::Shard(65_536)));
        assert!(matches!(Metadata::decode(&hex("0a00")), Err(MetadataError::Malformed(_))));
    }

    #[test]
    fn h72_more_than_a_kibibyte_is_not_read() {
        let refused = |prefix: &str| block_on(read(&mut Cursor::new(hex(prefix)))).unwrap_err().kind();
        assert_eq!(refused("8108"), io::ErrorKind::InvalidData, "1,025 bytes");
        assert_eq!(refused("8008"), io::ErrorKind::UnexpectedEof, "1,024 are allowed; there are none");
        assert_eq!(refused(""), io::ErrorKind::UnexpectedEof, "nothing was said");
    }

    #[test]
    fn more_shards_than_a_frame_holds_are_not_written() {
        let all = Metadata { cluster: Some(ClusterId(1)), shards: (0..1_024).collect() };
        assert!(block_on(write(&mut Vec::new(), &all)).is_err());
    }

    proptest! {
        #[test]
        fn round_trip(cluster: Option<u16>, shards: BTreeSet<u16>) {
            let metadata = Metadata { cluster: cluster.map(ClusterId), shards: shards.into_iter().collect() };
            prop_assert_eq!(Metadata::decode(&metadata.encode()).unwrap(), metadata);
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let _ = Metadata::decode(&bytes);
            let _ = block_on(read(&mut Cursor::new(bytes)));
        }
    }
}
