//! Passwords of keystores: of the flags, or of a person. On a terminal they are not shown, and typed twice for a keystore that is made.
//!
//! A pipe is read as the flags say, a line of it. Of the terminal it is `/dev/tty` that asks, so that standard output and standard
//! error may go anywhere.

use std::{fs::File, io, io::IsTerminal as _};

use console::Term;
use waku_rln::keystore::password::Password;

use super::keystore::{KeystoresError, STANDARD_INPUT, password};
use crate::cli::KeystorePasswordArgs;

/// How often a person types it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// It opens what is there, or does not.
    Once,
    /// What is made opens with it alone.
    Twice,
}

/// The password of the flags; of a person at a terminal; else a line of standard input. Blocks for as long as somebody types.
pub(crate) fn asked(args: &KeystorePasswordArgs, times: Asked) -> Result<Password, KeystoresError> {
    let file = args.rln_cred_password_file.as_deref();
    let is_of_input =
        args.rln_relay_cred_password.is_none() && file.is_none_or(|path| path.as_os_str() == STANDARD_INPUT);
    if !is_of_input || !io::stdin().is_terminal() {
        return password(args);
    }
    let terminal = terminal().map_err(KeystoresError::Terminal)?;
    let first = typed(&terminal, "password of the keystore: ")?;
    if times == Asked::Twice && typed(&terminal, "the same again: ")? != first {
        return Err(KeystoresError::Differ);
    }
    Ok(first)
}

fn terminal() -> io::Result<Term> {
    let terminal = File::options().read(true).write(true).open("/dev/tty")?;
    Ok(Term::read_write_pair(terminal.try_clone()?, terminal))
}

fn typed(terminal: &Term, prompt: &str) -> Result<Password, KeystoresError> {
    let line = terminal.write_str(prompt).and_then(|()| terminal.read_secure_line());
    let line = line.map_err(KeystoresError::Terminal)?;
    if line.is_empty() { Err(KeystoresError::Nothing) } else { Ok(Password::new(line)) }
}
