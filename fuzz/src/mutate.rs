//! Inputs made of seeds by a seeded generator, blind to what they reach: for tests, and where libFuzzer cannot be built.

use rand::{Rng, RngExt};

/// Edits of one input: few, so that most of a seed's structure stays.
const MAX_EDITS: u32 = 4;

/// Bytes that are often a boundary: of RLP's kinds, of protobuf's keys, of numbers.
const TELLING: [u8; 12] = [0x00, 0x01, 0x7f, 0x80, 0x81, 0xb7, 0xb8, 0xbf, 0xc0, 0xf7, 0xf8, 0xff];

/// A seed with a few edits, of at most `max_len` bytes. `seeds` may be empty.
pub fn mutate(rng: &mut impl Rng, seeds: &[Vec<u8>], max_len: usize) -> Vec<u8> {
    let mut input = pick(rng, seeds);
    for _ in 0..rng.random_range(1..=MAX_EDITS) {
        edit(rng, &mut input, seeds);
    }
    input.truncate(max_len);
    input
}

fn pick(rng: &mut impl Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    if seeds.is_empty() { Vec::new() } else { seeds[rng.random_range(0..seeds.len())].clone() }
}

fn edit(rng: &mut impl Rng, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let at = rng.random_range(0..=input.len());
    let span = at..(at + rng.random_range(0..=16_usize)).min(input.len());
    let byte = rng.random::<u8>();
    match rng.random_range(0..7_u8) {
        0 => input.insert(at, byte),
        1 => drop(input.drain(span)),
        2 => drop(input.splice(at..at, input[span].to_vec())),
        3 => input.truncate(at),
        4 => {
            let other = pick(rng, seeds);
            let from = rng.random_range(0..=other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        kind => {
            let Some(place) = input.get_mut(at) else { return };
            match kind {
                5 => *place ^= 1 << (byte % 8),
                _ => *place = TELLING[usize::from(byte) % TELLING.len()],
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn one_number_gives_one_input_within_the_length() {
        let seeds = vec![vec![0xc0; 40], b"enode://".to_vec()];
        let made = |seed| mutate(&mut StdRng::seed_from_u64(seed), &seeds, 48);
        assert_eq!(made(7), made(7));
        assert!((0..200).all(|seed| made(seed).len() <= 48));
        assert!((0..200).any(|seed| !seeds.contains(&made(seed))));
    }

    #[test]
    fn no_seeds_are_no_trouble() {
        let mut rng = StdRng::seed_from_u64(1);
        assert!((0..200).all(|_| mutate(&mut rng, &[], 8).len() <= 8));
    }
}
