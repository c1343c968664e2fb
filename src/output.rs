//! Words to the person at the terminal. Unlike `println!`, a reader that has gone away is not a panic.

use std::{
    fmt::Display,
    io::{self, ErrorKind, Write},
};

/// Whether anybody still reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// Somebody does.
    Listens,
    /// The pipe is closed, as behind `| head -1`: there is no use in going on, and no fault.
    Left,
}

/// One line of what was asked for, to standard output.
///
/// # Errors
/// When it can't be written for another reason than a closed pipe: a full disk, for example.
pub fn say(line: impl Display) -> io::Result<Reader> {
    match writeln!(io::stdout().lock(), "{line}") {
        Ok(()) => Ok(Reader::Listens),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Left),
        Err(error) => Err(error),
    }
}

/// One line about what goes on, to standard error; nobody need read it.
pub fn remark(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
