//! Keccak-f\[1600\] of four states with AVX2, or of eight with AVX-512.  Spec: FIPS 202, section 3.2.
//!
//! The only `unsafe` code of the project, of two kinds. Functions that need instructions are called by whom a token
//! proves that the processor has them: [`Avx2::detect`] and [`Avx512::detect`] alone make the tokens. And arrays of
//! words are read as arrays of vectors, which have the same size, in which any bits are a value.

use std::{arch::x86_64::*, hint::black_box, mem::transmute};

use super::{
    RATE, RATE_WORDS,
    permutation::{Permutation, STATE_WORDS, State},
};

/// Proof that the processor has AVX2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Avx2(());

/// Proof that the processor has the foundation of AVX-512.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Avx512(());

impl Avx2 {
    pub(super) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    /// Does work that may be compiled with these instructions, as far as it is inlined.
    #[inline]
    pub(super) fn run<R>(self, work: impl FnOnce() -> R) -> R {
        #[target_feature(enable = "avx2")]
        fn run_avx2<R>(work: impl FnOnce() -> R) -> R {
            work()
        }
        // SAFETY: `self` proves that there is AVX2.
        unsafe { run_avx2(work) }
    }
}

impl Avx512 {
    pub(super) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx512f").then_some(Self(()))
    }

    /// Does work that may be compiled with these instructions, as far as it is inlined.
    #[inline]
    pub(super) fn run<R>(self, work: impl FnOnce() -> R) -> R {
        #[target_feature(enable = "avx512f")]
        fn run_avx512<R>(work: impl FnOnce() -> R) -> R {
            work()
        }
        // SAFETY: `self` proves that there is AVX-512.
        unsafe { run_avx512(work) }
    }
}

impl Permutation<4> for Avx2 {
    fn permute(self, state: &mut State<4>) {
        // SAFETY: `self` proves that there is AVX2.
        unsafe { permute_avx2(state) }
    }

    fn absorb(self, state: &mut State<4>, keep: &[u64; 4], blocks: &[&[u8; RATE]; 4]) {
        // SAFETY: `self` proves that there is AVX2.
        unsafe { absorb_avx2(state, keep, blocks) }
    }
}

impl Permutation<8> for Avx512 {
    fn permute(self, state: &mut State<8>) {
        // SAFETY: `self` proves that there is AVX-512.
        unsafe { permute_avx512(state) }
    }

    fn absorb(self, state: &mut State<8>, keep: &[u64; 8], blocks: &[&[u8; RATE]; 8]) {
        // SAFETY: `self` proves that there is AVX-512.
        unsafe { absorb_avx512(state, keep, blocks) }
    }
}

/// The constants of the step iota.  Source: FIPS 202, section 3.2.5.
const ROUND_CONSTANTS: [u64; 24] = [
    0x0000_0000_0000_0001,
    0x0000_0000_0000_8082,
    0x8000_0000_0000_808a,
    0x8000_0000_8000_8000,
    0x0000_0000_0000_808b,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8009,
    0x0000_0000_0000_008a,
    0x0000_0000_0000_0088,
    0x0000_0000_8000_8009,
    0x0000_0000_8000_000a,
    0x0000_0000_8000_808b,
    0x8000_0000_0000_008b,
    0x8000_0000_0000_8089,
    0x8000_0000_0000_8003,
    0x8000_0000_0000_8002,
    0x8000_0000_0000_0080,
    0x0000_0000_0000_800a,
    0x8000_0000_8000_000a,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8080,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8008,
];

/// The five steps of a round on vectors of any width. `c` holds what theta takes from each column, `b` the state after rho
/// and pi, plane by plane.
macro_rules! round {
    ($a:ident, $iota:expr, $xor5:ident, $xor3:ident, $rol:ident, $chi:ident) => {
        let c = [
            $xor5!($a[0], $a[5], $a[10], $a[15], $a[20]),
            $xor5!($a[1], $a[6], $a[11], $a[16], $a[21]),
            $xor5!($a[2], $a[7], $a[12], $a[17], $a[22]),
            $xor5!($a[3], $a[8], $a[13], $a[18], $a[23]),
            $xor5!($a[4], $a[9], $a[14], $a[19], $a[24]),
        ];
        let r = [$rol!(c[1], 1), $rol!(c[2], 1), $rol!(c[3], 1), $rol!(c[4], 1), $rol!(c[0], 1)];
        let l = [c[4], c[0], c[1], c[2], c[3]];
        macro_rules! moved {
            ($from:literal, $column:literal, $bits:literal) => {
                $rol!($xor3!($a[$from], l[$column], r[$column]), $bits)
            };
        }
        let b = [
            [$xor3!($a[0], l[0], r[0]), moved!(6, 1, 44), moved!(12, 2, 43), moved!(18, 3, 21), moved!(24, 4, 14)],
            [moved!(3, 3, 28), moved!(9, 4, 20), moved!(10, 0, 3), moved!(16, 1, 45), moved!(22, 2, 61)],
            [moved!(1, 1, 1), moved!(7, 2, 6), moved!(13, 3, 25), moved!(19, 4, 8), moved!(20, 0, 18)],
            [moved!(4, 4, 27), moved!(5, 0, 36), moved!(11, 1, 10), moved!(17, 2, 15), moved!(23, 3, 56)],
            [moved!(2, 2, 62), moved!(8, 3, 55), moved!(14, 4, 39), moved!(15, 0, 41), moved!(21, 1, 2)],
        ];
        for (plane, [b0, b1, b2, b3, b4]) in $a.as_chunks_mut().0.iter_mut().zip(b) {
            *plane = [$chi!(b0, b1, b2), $chi!(b1, b2, b3), $chi!(b2, b3, b4), $chi!(b3, b4, b0), $chi!(b4, b0, b1)];
        }
        $a[0] = $iota;
    };
}

macro_rules! avx2_xor3 {
    ($a:expr, $b:expr, $c:expr) => {
        _mm256_xor_si256($a, _mm256_xor_si256($b, $c))
    };
}

macro_rules! avx2_xor5 {
    ($a:expr, $b:expr, $c:expr, $d:expr, $e:expr) => {
        avx2_xor3!(_mm256_xor_si256($a, $b), $c, _mm256_xor_si256($d, $e))
    };
}

macro_rules! avx2_rol {
    ($a:expr, $bits:literal) => {{
        let a = $a;
        _mm256_or_si256(_mm256_slli_epi64::<$bits>(a), _mm256_srli_epi64::<{ 64 - $bits }>(a))
    }};
}

macro_rules! avx2_chi {
    ($a:expr, $b:expr, $c:expr) => {
        _mm256_xor_si256($a, _mm256_andnot_si256($b, $c))
    };
}

/// Four states, a vector for each of the 25 words.
#[target_feature(enable = "avx2")]
fn permute_avx2(state: &mut State<4>) {
    // SAFETY: four words of 64 bits are as large as a vector of 256, and any bits are a value of both.
    let mut a: [__m256i; STATE_WORDS] = unsafe { transmute(state.0) };
    align_stack();
    for constant in &ROUND_CONSTANTS {
        let iota = _mm256_set1_epi64x(constant.cast_signed());
        round!(a, _mm256_xor_si256(a[0], iota), avx2_xor5, avx2_xor3, avx2_rol, avx2_chi);
    }
    // SAFETY: as above.
    state.0 = unsafe { transmute::<[__m256i; STATE_WORDS], [[u64; 4]; STATE_WORDS]>(a) };
}

/// Adds a block to each state.
#[target_feature(enable = "avx2")]
fn absorb_avx2(state: &mut State<4>, keep: &[u64; 4], blocks: &[&[u8; RATE]; 4]) {
    // SAFETY: four words of 64 bits are as large as a vector of 256, and any bits are a value of both.
    let mut a: [__m256i; STATE_WORDS] = unsafe { transmute(state.0) };
    // SAFETY: as above.
    let keep: __m256i = unsafe { transmute(*keep) };
    for word in &mut a {
        *word = _mm256_and_si256(*word, keep);
    }
    for (n, words) in a[..RATE_WORDS].as_chunks_mut::<4>().0.iter_mut().enumerate() {
        let block = transposed_avx2(parts(blocks, n));
        for (word, block) in words.iter_mut().zip(block) {
            *word = _mm256_xor_si256(*word, block);
        }
    }
    // SAFETY: as above.
    let last = unsafe { transmute::<[[u8; 8]; 4], __m256i>(parts(blocks, RATE_WORDS - 1)) };
    a[RATE_WORDS - 1] = _mm256_xor_si256(a[RATE_WORDS - 1], last);
    // SAFETY: as above.
    state.0 = unsafe { transmute::<[__m256i; STATE_WORDS], [[u64; 4]; STATE_WORDS]>(a) };
    permute_avx2(state);
}

/// Four words of each of four lanes, the lanes of each word together.
#[target_feature(enable = "avx2")]
#[inline]
fn transposed_avx2(lanes: [[u8; size_of::<__m256i>()]; 4]) -> [__m256i; 4] {
    // SAFETY: of the same size, and any bits are a value of both.
    let [a, b, c, d]: [__m256i; 4] = unsafe { transmute(lanes) };
    let (ab_even, ab_odd) = (_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
    let (cd_even, cd_odd) = (_mm256_unpacklo_epi64(c, d), _mm256_unpackhi_epi64(c, d));
    [
        _mm256_permute2x128_si256::<0x20>(ab_even, cd_even),
        _mm256_permute2x128_si256::<0x20>(ab_odd, cd_odd),
        _mm256_permute2x128_si256::<0x31>(ab_even, cd_even),
        _mm256_permute2x128_si256::<0x31>(ab_odd, cd_odd),
    ]
}

/// The bits of the truth table of `a ^ b ^ c`.
const XOR3: i32 = 0x96;

/// The bits of the truth table of `a ^ (!b & c)`.
const CHI: i32 = 0xd2;

macro_rules! avx512_xor3 {
    ($a:expr, $b:expr, $c:expr) => {
        _mm512_ternarylogic_epi64::<XOR3>($a, $b, $c)
    };
}

macro_rules! avx512_xor5 {
    ($a:expr, $b:expr, $c:expr, $d:expr, $e:expr) => {
        avx512_xor3!(avx512_xor3!($a, $b, $c), $d, $e)
    };
}

macro_rules! avx512_rol {
    ($a:expr, $bits:literal) => {
        _mm512_rol_epi64::<$bits>($a)
    };
}

macro_rules! avx512_chi {
    ($a:expr, $b:expr, $c:expr) => {
        _mm512_ternarylogic_epi64::<CHI>($a, $b, $c)
    };
}

/// Eight states, a vector for each of the 25 words.
#[target_feature(enable = "avx512f")]
fn permute_avx512(state: &mut State<8>) {
    // SAFETY: eight words of 64 bits are as large as a vector of 512, and any bits are a value of both.
    let mut a: [__m512i; STATE_WORDS] = unsafe { transmute(state.0) };
    align_stack();
    for constant in &ROUND_CONSTANTS {
        let iota = _mm512_set1_epi64(constant.cast_signed());
        round!(a, _mm512_xor_si512(a[0], iota), avx512_xor5, avx512_xor3, avx512_rol, avx512_chi);
    }
    // SAFETY: as above.
    state.0 = unsafe { transmute::<[__m512i; STATE_WORDS], [[u64; 8]; STATE_WORDS]>(a) };
}

/// Adds a block to each state.
#[target_feature(enable = "avx512f")]
fn absorb_avx512(state: &mut State<8>, keep: &[u64; 8], blocks: &[&[u8; RATE]; 8]) {
    // SAFETY: eight words of 64 bits are as large as a vector of 512, and any bits are a value of both.
    let mut a: [__m512i; STATE_WORDS] = unsafe { transmute(state.0) };
    // SAFETY: as above.
    let keep: __m512i = unsafe { transmute(*keep) };
    for word in &mut a {
        *word = _mm512_and_si512(*word, keep);
    }
    for (n, words) in a[..RATE_WORDS].as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let block = transposed_avx512(parts(blocks, n));
        for (word, block) in words.iter_mut().zip(block) {
            *word = _mm512_xor_si512(*word, block);
        }
    }
    // SAFETY: as above.
    let last = unsafe { transmute::<[[u8; 8]; 8], __m512i>(parts(blocks, RATE_WORDS - 1)) };
    a[RATE_WORDS - 1] = _mm512_xor_si512(a[RATE_WORDS - 1], last);
    // SAFETY: as above.
    state.0 = unsafe { transmute::<[__m512i; STATE_WORDS], [[u64; 8]; STATE_WORDS]>(a) };
    permute_avx512(state);
}

/// Eight words of each of eight lanes, the lanes of each word together.
#[target_feature(enable = "avx512f")]
#[inline]
fn transposed_avx512(lanes: [[u8; size_of::<__m512i>()]; 8]) -> [__m512i; 8] {
    // SAFETY: of the same size, and any bits are a value of both.
    let [a, b, c, d, e, f, g, h]: [__m512i; 8] = unsafe { transmute(lanes) };
    // Words 0 and 4, then 2 and 6, of the four lanes that `ab` and `cd` hold; or 1 and 5, 3 and 7.
    let four = |ab, cd| [_mm512_shuffle_i64x2::<0x88>(ab, cd), _mm512_shuffle_i64x2::<0xdd>(ab, cd)];
    let even = |a, b, c, d| four(_mm512_unpacklo_epi64(a, b), _mm512_unpacklo_epi64(c, d));
    let odd = |a, b, c, d| four(_mm512_unpackhi_epi64(a, b), _mm512_unpackhi_epi64(c, d));
    let ([w04, w26], [w15, w37]) = (even(a, b, c, d), odd(a, b, c, d));
    let ([v04, v26], [v15, v37]) = (even(e, f, g, h), odd(e, f, g, h));
    let ([w0, w4], [w2, w6], [w1, w5], [w3, w7]) = (four(w04, v04), four(w26, v26), four(w15, v15), four(w37, v37));
    [w0, w1, w2, w3, w4, w5, w6, w7]
}

/// The `n`th part of so many bytes of each block. Words are little-endian for the processor and for Keccak.
#[inline(always)]
fn parts<const N: usize, const BYTES: usize>(blocks: &[&[u8; RATE]; N], n: usize) -> [[u8; BYTES]; N] {
    let mut parts = [[0; BYTES]; N];
    for (part, block) in parts.iter_mut().zip(blocks) {
        *part = block.as_chunks().0[n];
    }
    parts
}

/// Makes the compiler align the stack of the function that it is inlined into. Vectors that do not fit the registers go
/// there, and cost a quarter of the time with AVX2 where they cross the borders of cache lines.
#[inline(always)]
fn align_stack() {
    /// A cache line, in bytes.
    #[repr(align(64))]
    struct Line(u8);
    let mut line = Line(0); // Not a constant, which would be no part of the stack.
    black_box(&mut line.0);
}
