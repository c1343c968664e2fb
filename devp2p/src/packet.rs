//! A packet on its way out: encoded once, compressed once, for any number of peers.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::hello::Capability;

/// One packet for one or many peers. Cloning shares the body.
#[derive(Debug, Clone)]
pub struct Packet {
    /// The protocol it belongs to.
    pub capability: Capability,
    /// Message code, relative to the protocol.
    pub code: u8,
    /// What it carries.
    pub body: Body,
}

impl Packet {
    /// A packet of `capability` carrying `body`.
    #[must_use]
    pub fn new(capability: Capability, code: u8, body: impl Into<Body>) -> Self {
        Self { capability, code, body: body.into() }
    }
}

/// The bytes of a packet after its code. The compressed form is made by the first session that needs it and then shared.
#[derive(Clone)]
pub struct Body(Arc<Forms>);

struct Forms {
    plain: Bytes,
    snappy: OnceLock<Vec<u8>>,
}

impl Body {
    /// As encoded.
    #[must_use]
    pub fn plain(&self) -> &Bytes {
        &self.0.plain
    }

    /// As one raw snappy block (EIP-706). Empty for a body over 4 GiB, which no block can hold and no session sends.
    #[must_use]
    pub fn snappy(&self) -> &[u8] {
        self.0.snappy.get_or_init(|| snap::raw::Encoder::new().compress_vec(&self.0.plain).unwrap_or_default())
    }
}

impl From<Bytes> for Body {
    fn from(plain: Bytes) -> Self {
        Self(Arc::new(Forms { plain, snappy: OnceLock::new() }))
    }
}

impl From<Vec<u8>> for Body {
    fn from(plain: Vec<u8>) -> Self {
        Bytes::from(plain).into()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.0.plain.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compresses_once_for_all_clones() {
        let body = Body::from(vec![7; 10_000]);
        let clone = body.clone();
        let (first, second) = (body.snappy().as_ptr(), clone.snappy().as_ptr());
        assert_eq!(first, second);
        assert!(body.snappy().len() < 1_000);
        assert_eq!(snap::raw::Decoder::new().decompress_vec(body.snappy()).unwrap(), vec![7; 10_000]);
    }

    #[test]
    fn ping_compresses_to_the_printed_bytes() {
        assert_eq!(Body::from(vec![0xc0]).snappy(), [0x01, 0x00, 0xc0]);
    }
}
