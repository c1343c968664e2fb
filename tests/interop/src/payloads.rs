//! What is sent: the same bytes in every run, of the sizes that applications send.

/// The largest payload, in bytes: 100 KiB, which sealed and framed still fits the 150 KiB of the v2 networks.
pub(crate) const LARGEST: usize = 100 * 1024;

/// `count` payloads with sizes spread evenly on a logarithmic scale from 1 byte to 100 KiB; the first two are the extremes.
pub(crate) fn spread(count: usize, seed: u64) -> Vec<Vec<u8>> {
    spread_to(LARGEST, count, seed)
}

/// The same up to another size.
pub(crate) fn spread_to(largest: usize, count: usize, seed: u64) -> Vec<Vec<u8>> {
    (0..count).map(|index| bytes(size(index, largest), seed.wrapping_add(index as u64))).collect()
}

/// `count` payloads of one size.
pub(crate) fn equal(count: usize, size: usize, seed: u64) -> Vec<Vec<u8>> {
    (0..count).map(|index| bytes(size, seed.wrapping_add(index as u64))).collect()
}

fn size(index: usize, largest: usize) -> usize {
    match index {
        0 => 1,
        1 => largest,
        _ => {
            let step = (index as f64 * 0.618_033_988_749_895).fract(); // the golden ratio covers an interval evenly
            (step * (largest as f64).ln()).exp() as usize
        }
    }
}

/// Pseudo-random bytes (`SplitMix64`), so that nothing compresses.
pub(crate) fn bytes(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut words = std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).to_le_bytes()
    });
    let mut out = Vec::with_capacity(size + 8);
    while out.len() < size {
        out.extend(words.next().unwrap_or_default());
    }
    out.truncate(size);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_reach_both_ends_and_every_decade() {
        let sizes: Vec<usize> = spread(1000, 1).iter().map(Vec::len).collect();
        assert_eq!((sizes.iter().min(), sizes.iter().max()), (Some(&1), Some(&LARGEST)));
        for decade in [1, 10, 100, 1_000, 10_000] {
            let within = sizes.iter().filter(|&&size| size >= decade && size < decade * 10).count();
            assert!((150..=250).contains(&within), "{within} from {decade}");
        }
    }

    #[test]
    fn bytes_repeat_with_their_seed_alone() {
        assert_eq!(bytes(100, 7), bytes(100, 7));
        assert_ne!(bytes(100, 7), bytes(100, 8));
        assert_eq!(bytes(3, 7).len(), 3);
    }
}
