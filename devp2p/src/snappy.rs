//! Opens raw snappy blocks from strangers (EIP-706).
//!
//! A block begins with the length it claims to hold. It is compared with the limit, and with what so few bytes can make,
//! before anything is allocated.

use bytes::Bytes;

use crate::close::Fault;

/// A snappy element of 3 bytes makes at most 64, so a block can claim at most 22 times its length.
const MAX_SNAPPY_GROWTH: usize = 22;

/// The length that a block claims to hold, when so many bytes can hold it and it is at most `limit`.
///
/// # Errors
/// [`Fault::TooLarge`] by its claim, [`Fault::Snappy`] when it is no block.
pub(crate) fn claimed_bytes(block: &[u8], limit: usize) -> Result<usize, Fault> {
    let bytes = snap::raw::decompress_len(block).map_err(|_| Fault::Snappy)?;
    if bytes > limit {
        return Err(Fault::TooLarge { bytes, limit });
    }
    // A frame bounds the block, so the product does not overflow.
    if block.is_empty() || bytes > block.len().saturating_mul(MAX_SNAPPY_GROWTH) {
        return Err(Fault::Snappy);
    }
    Ok(bytes)
}

/// The content of a block, of at most `limit` bytes.
///
/// # Errors
/// Those of [`claimed_bytes`], and [`Fault::Snappy`] when it does not hold what it claims.
pub(crate) fn decompress(block: &[u8], limit: usize) -> Result<Bytes, Fault> {
    let bytes = claimed_bytes(block, limit)?;
    let mut plain = vec![0; bytes];
    snap::raw::Decoder::new().decompress(block, &mut plain).map_err(|_| Fault::Snappy)?;
    Ok(plain.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As much as a block can hold, and a claim of a little more than that.
    #[test]
    fn the_densest_block_passes_and_a_denser_claim_does_not() {
        let zeros = vec![0; 1 << 20];
        let block = crate::Body::from(zeros.clone()).snappy().to_vec();
        assert!(block.len() * 21 < zeros.len() + 1000, "{} bytes", block.len());
        assert!(decompress(&block, zeros.len()).unwrap() == zeros);
        assert_eq!(decompress(&block, zeros.len() - 1), Err(Fault::TooLarge { bytes: 1 << 20, limit: (1 << 20) - 1 }));
        // 15.9 MiB in 4 KiB.
        let claim = [&[0x80, 0x80, 0xfa, 0x07][..], &[0; 4096]].concat();
        assert_eq!(decompress(&claim, 1 << 24), Err(Fault::Snappy));
    }

    proptest! {
        #[test]
        fn round_trip(plain: Vec<u8>) {
            let body = crate::Body::from(plain.clone());
            prop_assert_eq!(decompress(body.snappy(), plain.len()).unwrap(), plain);
        }

        #[test]
        fn arbitrary_bytes_never_panic(block in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(plain) = decompress(&block, 1000) {
                prop_assert!(plain.len() <= 1000);
            }
        }
    }
}
