//! What is hashed, in pieces, so that nothing has to be copied together first.  Spec: FIPS 202, section 5.1.
//!
//! Limit: [`MAX_HEAD`] bytes in front, one number behind.

use super::{PAD_FIRST, PAD_LAST, RATE};

/// Longest piece in front of the body, in bytes: a list header of RLP has no more.
pub(crate) const MAX_HEAD: usize = 9;

/// The bytes of one hash: a short head, a body of any length, and maybe a number as eight big-endian bytes.
#[derive(Debug, Clone)]
pub(crate) struct Input<'a> {
    head: [u8; MAX_HEAD],
    head_len: usize,
    body: &'a [u8],
    tail: [u8; size_of::<u64>()],
    tail_len: usize,
}

impl<'a> Input<'a> {
    /// One piece.
    pub(crate) fn of(body: &'a [u8]) -> Self {
        Self::new(&[], body, None)
    }

    /// Up to three. Of the head, [`MAX_HEAD`] bytes at most are taken.
    pub(crate) fn new(head: &[u8], body: &'a [u8], tail: Option<u64>) -> Self {
        let mut filled = [0; MAX_HEAD];
        let head_len = head.len().min(MAX_HEAD);
        filled[..head_len].copy_from_slice(&head[..head_len]);
        let tail_len = tail.map_or(0, |_| size_of::<u64>());
        Self { head: filled, head_len, body, tail: tail.unwrap_or_default().to_be_bytes(), tail_len }
    }

    /// Length of all pieces, in bytes.
    pub(super) fn len(&self) -> usize {
        self.head_len + self.body.len() + self.tail_len
    }

    /// How many blocks it makes: there is always room for padding.
    pub(super) fn blocks(&self) -> usize {
        self.len() / RATE + 1
    }

    /// One block: a slice of the body if it lies within it, else put together in `scratch`.
    #[inline]
    pub(super) fn block<'s>(&'s self, index: usize, scratch: &'s mut [u8; RATE]) -> &'s [u8; RATE] {
        let within = (index * RATE).checked_sub(self.head_len).and_then(|start| self.body.get(start..));
        if let Some(block) = within.and_then(<[u8]>::first_chunk) {
            return block;
        }
        self.join(index, scratch);
        scratch
    }

    fn join(&self, index: usize, block: &mut [u8; RATE]) {
        *block = [0; RATE];
        let block_at = index * RATE;
        let mut piece_at = 0;
        for piece in [&self.head[..self.head_len], self.body, &self.tail[..self.tail_len]] {
            copy_overlap(block, block_at, piece, piece_at);
            piece_at += piece.len();
        }
        if let Some(end) = block.get_mut(piece_at.saturating_sub(block_at)).filter(|_| piece_at >= block_at) {
            *end = PAD_FIRST;
            block[RATE - 1] |= PAD_LAST;
        }
    }
}

/// Copies what a piece and a block share; both are placed by their offset in the whole.
fn copy_overlap(block: &mut [u8; RATE], block_at: usize, piece: &[u8], piece_at: usize) {
    let from = block_at.max(piece_at);
    let to = (block_at + RATE).min(piece_at + piece.len());
    if from < to {
        block[from - block_at..to - block_at].copy_from_slice(&piece[from - piece_at..to - piece_at]);
    }
}
