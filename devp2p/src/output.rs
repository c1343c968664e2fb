//! What a session has to write, in order and bounded.

use std::collections::VecDeque;

use bytes::Bytes;

/// Most bytes waiting to be written. When they are reached `Session::send` refuses, so the caller keeps the packet.
pub const MAX_OUTPUT_BYTES: usize = 4 * 1024 * 1024;

/// Most pieces waiting to be written, for the same reason.
pub const MAX_OUTPUT_PIECES: usize = 1024;

/// Bytes waiting to be written.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pieces: VecDeque<Piece>,
    bytes: usize,
    /// Set while a pong waits.
    pub(crate) pong_waiting: bool,
}

#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    pong: bool,
}

impl Output {
    pub(crate) fn push(&mut self, bytes: Bytes) {
        self.bytes += bytes.len();
        self.pieces.push_back(Piece { bytes, pong: false });
    }

    /// The piece pushed last is a pong.
    pub(crate) fn mark_pong(&mut self) {
        if let Some(piece) = self.pieces.back_mut() {
            piece.pong = true;
            self.pong_waiting = true;
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let piece = self.pieces.pop_front()?;
        self.bytes -= piece.bytes.len();
        self.pong_waiting &= !piece.pong;
        Some(piece.bytes)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= MAX_OUTPUT_BYTES || self.pieces.len() >= MAX_OUTPUT_PIECES
    }
}
