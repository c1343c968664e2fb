//! Bytes read as a script: what a fuzzer says to a core, one small choice after the other. Never fails: at the end all is zero
//! and empty.

use std::{sync::LazyLock, time::Duration};

use bytes::Bytes;
use devp2p::clock::{Now, now};

/// Unix seconds at which every script begins.
pub const START_SECS: u32 = 1_700_000_000;

/// The start of every script. The monotonic clock's value is the machine's; nothing depends on it.
#[must_use]
pub fn start() -> Now {
    static INSTANT: LazyLock<Now> = LazyLock::new(now);
    Now { unix: Duration::from_secs(START_SECS.into()), ..*INSTANT }
}

/// What is left of the input.
#[derive(Debug, Clone)]
pub struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    /// All of it.
    #[must_use]
    pub fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// One of so many; `kinds` is not 0.
    pub fn one_of(&mut self, kinds: u8) -> u8 {
        self.byte() % kinds
    }

    /// True or false.
    pub fn flag(&mut self) -> bool {
        self.one_of(2) == 1
    }

    /// Two bytes.
    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> u64 {
        u64::from_be_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// Two bytes of length, and as many bytes of that as there are.
    pub fn chunk(&mut self) -> &'a [u8] {
        let len = usize::from(self.u16()).min(self.0.len());
        let (chunk, rest) = self.0.split_at(len);
        self.0 = rest;
        chunk
    }

    /// The same, owned.
    pub fn bytes(&mut self) -> Bytes {
        Bytes::copy_from_slice(self.chunk())
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_ends_in_zeros() {
        let mut script = Script::new(&[7, 1, 0, 2, 9, 8, 0, 9, 5]);
        assert_eq!((script.byte(), script.flag(), script.chunk()), (7, true, [9, 8].as_slice()));
        assert_eq!(script.chunk(), [5]);
        assert!(script.is_over());
        assert_eq!((script.u16(), script.u64(), script.chunk(), script.rest()), (0, 0, [].as_slice(), [].as_slice()));
    }
}
