//! The ledger of ids on disk: bytes, and the file: core and shell.
//!
//! A few hundred bytes, written whole beside their place, synced, moved there, and the folder synced: there is always one whole
//! ledger, of before or of after. Text with a checksum, so that what was cut off or changed is noticed. A damaged one could have
//! been about anything up to when it was written, which its file tells, or to the present: whichever is later. A ledger of version
//! 1 does not say what classes have taken. Limits: [`MAX_LEDGER_BYTES`].

use std::{
    fmt::Write as _,
    fs::{self, File, TryLockError},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

use waku2::rln::{
    element::Element,
    epoch::{Epoch, EpochLength},
};

use super::allot::State;
use crate::contract::Commitment;

/// Bytes of a ledger at most: eight epochs of 64 memberships, those that were here before, and 64 classes with the longest names have
/// less than half.
pub const MAX_LEDGER_BYTES: u64 = 1 << 20;

const FIRST_LINE: &str = "message ids, version 2";
const OLDER_FIRST_LINE: &str = "message ids, version 1";

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another program has it.
    #[error("{0} is in use by another program: two that share a membership would reveal its secret")]
    InUse(PathBuf),
    /// It counts epochs of another length.
    #[error("{path} counts epochs of {found} s, not {expected} s: move it away if that was meant to change")]
    EpochLength {
        /// Where.
        path: PathBuf,
        /// Of the network, in seconds.
        expected: u64,
        /// Its own, in seconds.
        found: u64,
    },
    /// What the system says.
    #[error("{path}: {error}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What.
        error: io::Error,
    },
}

/// What was found on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing: the first life.
    Nothing,
    /// What an earlier life left.
    Ledger,
    /// Something damaged, which is kept beside it. Nothing is given out up to this epoch.
    Damaged(Epoch),
}

/// The file, locked for as long as this lives.
#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    length: EpochLength,
    _lock: File,
}

impl Ledger {
    /// Opens the ledger at `path`, or begins one.
    pub(super) fn open(path: &Path, length: EpochLength, current: Epoch) -> Result<(Self, State, Found), LedgerError> {
        let failed = |error| LedgerError::Io { path: path.to_owned(), error };
        let lock = File::create(path.with_extension("lock")).map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => LedgerError::InUse(path.to_owned()),
            TryLockError::Error(error) => failed(error),
        })?;
        let ledger = Self { path: path.to_owned(), length, _lock: lock };
        let Some(bytes) = read(path).map_err(failed)? else {
            return Ok((ledger, State::default(), Found::Nothing));
        };
        match decode(&bytes) {
            Some((found, state)) if found == length.secs() => Ok((ledger, state, Found::Ledger)),
            Some((found, _)) => Err(LedgerError::EpochLength { path: path.to_owned(), expected: length.secs(), found }),
            None => {
                // A clock that has gone back since must not make the epochs of before look new.
                let state = State::lost(current.max(written(path, length)));
                let until = state.closed.unwrap_or(current);
                // Copied, not moved: a crash between the two must not look like a first life.
                fs::copy(path, path.with_extension("damaged")).map_err(failed)?;
                ledger.write(&state)?;
                Ok((ledger, state, Found::Damaged(until)))
            }
        }
    }

    /// Writes all of it. When this returns, it is on disk. When it fails, either is there, the old or the new.
    pub(super) fn write(&self, state: &State) -> Result<(), LedgerError> {
        self.replace(encode(self.length, state).as_bytes())
            .map_err(|error| LedgerError::Io { path: self.path.clone(), error })
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let draft = self.path.with_extension("new");
        let mut file = File::create(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, &self.path)?;
        match self.path.parent() {
            Some(folder) if folder.as_os_str().is_empty() => File::open(".")?.sync_all(),
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

/// The epoch in which the file was written last, as far as that is known.
fn written(path: &Path, length: EpochLength) -> Epoch {
    let written = fs::metadata(path).and_then(|file| file.modified()).ok();
    length.at(written.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default())
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_LEDGER_BYTES).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn encode(length: EpochLength, state: &State) -> String {
    let mut text = format!("{FIRST_LINE}\nepoch length {}\n", length.secs());
    // Writing to a string never fails.
    if let Some(Epoch(closed)) = state.closed {
        let _ = writeln!(text, "closed {closed}");
    }
    for (Epoch(first), Epoch(last)) in state.shut.spans() {
        let _ = writeln!(text, "shut {first} {last}");
    }
    for (Epoch(epoch), members) in &state.reserved {
        for (commitment, until) in members {
            let _ = writeln!(text, "reserved {epoch} {:?} {until}", commitment.element());
        }
    }
    for (Epoch(epoch), classes) in &state.taken {
        for (class, taken) in classes {
            let _ = writeln!(text, "taken {epoch} {} {taken}", hex::encode(&**class));
        }
    }
    let sum = crc32c::crc32c(text.as_bytes());
    let _ = writeln!(text, "crc32c {sum:08x}");
    text
}

/// The length of its epochs in seconds, and the rest; `None` for what was not written so.
fn decode(bytes: &[u8]) -> Option<(u64, State)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (body, sum) = text.strip_suffix('\n')?.rsplit_once("\ncrc32c ")?;
    let whole = text.get(..body.len() + 1)?;
    if format!("{:08x}", crc32c::crc32c(whole.as_bytes())) != sum {
        return None;
    }
    let mut lines = body.lines();
    if ![FIRST_LINE, OLDER_FIRST_LINE].contains(&lines.next()?) {
        return None;
    }
    let length = lines.next()?.strip_prefix("epoch length ")?.parse().ok()?;
    let mut state = State::default();
    for line in lines {
        state.read(line)?;
    }
    Some((length, state))
}

impl State {
    fn read(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["closed", epoch] => self.closed = Some(Epoch(epoch.parse().ok()?)),
            ["shut", first, last] => {
                let (first, last) = (Epoch(first.parse().ok()?), Epoch(last.parse().ok()?));
                (first <= last).then(|| self.shut.add_span(first, last))?;
            }
            ["reserved", epoch, commitment, until] => {
                let element = Element::canonical(hex::decode(commitment).ok()?.try_into().ok()?)?;
                let members = self.reserved.entry(Epoch(epoch.parse().ok()?)).or_default();
                members.insert(Commitment::new(element)?, until.parse().ok()?);
            }
            ["taken", epoch, class, taken] => {
                let class: Arc<str> = String::from_utf8(hex::decode(class).ok()?).ok()?.into();
                self.taken.entry(Epoch(epoch.parse().ok()?)).or_default().insert(class, taken.parse().ok()?);
            }
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::ids::shut::Shut;

    fn length() -> EpochLength {
        EpochLength::default()
    }

    /// As if it had been written at this time.
    fn write_at(path: &Path, bytes: &[u8], secs: u64) {
        fs::write(path, bytes).unwrap();
        let file = File::options().append(true).open(path).unwrap();
        file.set_modified(UNIX_EPOCH + std::time::Duration::from_secs(secs)).unwrap();
    }

    fn state() -> State {
        let members = BTreeMap::from([1, 2].map(|who| (Commitment::new(Element::from(who)).unwrap(), who * 10)));
        let taken = BTreeMap::from([("a class".into(), 4), ("\u{e9}".into(), 8)]);
        let (reserved, taken) = (BTreeMap::from([(Epoch(7), members)]), BTreeMap::from([(Epoch(7), taken)]));
        let mut shut = Shut::default();
        [20, 21, 30].into_iter().for_each(|epoch| shut.add(Epoch(epoch), Epoch(7)));
        State { closed: Some(Epoch(5)), shut, reserved, taken }
    }

    #[test]
    fn a_ledger_of_the_first_version_is_read() {
        let older = State { taken: BTreeMap::new(), shut: Shut::default(), ..state() };
        let text = encode(length(), &older).replace(FIRST_LINE, OLDER_FIRST_LINE);
        let body = text.split_inclusive('\n').filter(|line| !line.starts_with("crc32c")).collect::<String>();
        let whole = format!("{body}crc32c {:08x}\n", crc32c::crc32c(body.as_bytes()));
        assert_eq!(decode(whole.as_bytes()), Some((600, older)));
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ids");
        let (ledger, nothing, found) = Ledger::open(&path, length(), Epoch(9)).unwrap();
        assert_eq!((nothing, found), (State::default(), Found::Nothing));
        ledger.write(&state()).unwrap();
        drop(ledger);
        let (_ledger, read, found) = Ledger::open(&path, length(), Epoch(9)).unwrap();
        assert_eq!((read, found), (state(), Found::Ledger));
    }

    #[test]
    fn two_never_have_one_ledger() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ids");
        let (ledger, ..) = Ledger::open(&path, length(), Epoch(9)).unwrap();
        assert!(matches!(Ledger::open(&path, length(), Epoch(9)), Err(LedgerError::InUse(_))));
        drop(ledger);
        assert!(Ledger::open(&path, length(), Epoch(9)).is_ok());
    }

    #[test]
    fn epochs_of_another_length_are_not_mixed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ids");
        Ledger::open(&path, length(), Epoch(9)).unwrap().0.write(&state()).unwrap();
        let other = Ledger::open(&path, EpochLength::from_secs(60).unwrap(), Epoch(9));
        assert!(matches!(other, Err(LedgerError::EpochLength { expected: 60, found: 600, .. })));
    }

    #[test]
    fn a_damaged_ledger_closes_all_that_it_could_have_been_about_and_is_kept() {
        let whole = encode(length(), &state()).into_bytes();
        let cuts = (0..whole.len()).map(|end| whole[..end].to_vec());
        let flips = (0..whole.len()).map(|place| {
            let mut bytes = whole.clone();
            bytes[place] ^= 1;
            bytes
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ids");
        for damaged in cuts.chain(flips).step_by(7) {
            write_at(&path, &damaged, 8 * 600);
            let (_ledger, state, found) = Ledger::open(&path, length(), Epoch(9)).unwrap();
            assert_eq!(found, Found::Damaged(Epoch(10)), "{}", String::from_utf8_lossy(&damaged));
            assert!(!state.is_open(Epoch(9)) && !state.is_open(Epoch(10)) && state.is_open(Epoch(11)));
            assert_eq!(fs::read(path.with_extension("damaged")).unwrap(), damaged);
            assert!(decode(&fs::read(&path).unwrap()).is_some(), "the next life finds a whole one");
        }
    }

    /// Nobody knows the time yet after a start, and the ledger is gone: what was given out before the start is not given out again
    /// once the clock is right.
    #[test]
    fn f10_a_damaged_ledger_under_a_clock_that_went_back_closes_what_it_was_written_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ids");
        write_at(&path, b"damaged", 2_000 * 600 + 599);
        let (_ledger, state, found) = Ledger::open(&path, length(), Epoch(9)).unwrap();
        assert_eq!(found, Found::Damaged(Epoch(2_001)));
        assert!(!state.is_open(Epoch(2_000)) && !state.is_open(Epoch(2_001)) && state.is_open(Epoch(2_002)));
    }

    #[test]
    fn a_ledger_that_cannot_be_written_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let (ledger, ..) = Ledger::open(&folder.path().join("ids"), length(), Epoch(9)).unwrap();
        folder.close().unwrap();
        assert!(matches!(ledger.write(&state()), Err(LedgerError::Io { .. })));
    }

    proptest! {
        #[test]
        fn any_state_comes_back_and_any_change_is_noticed(
            closed in proptest::option::of(any::<u64>()),
            entries in proptest::collection::vec((any::<u64>(), 1..u64::MAX, any::<u64>()), 0..20),
            shut in proptest::collection::vec(any::<u64>(), 0..12),
            place in any::<usize>(), by in 1..=u8::MAX,
        ) {
            let mut state = State { closed: closed.map(Epoch), ..State::default() };
            shut.into_iter().for_each(|epoch| state.shut.add(Epoch(epoch), Epoch(7)));
            for (epoch, who, until) in entries {
                state.taken.entry(Epoch(epoch)).or_default().insert(who.to_string().into(), until);
                let members = state.reserved.entry(Epoch(epoch)).or_default();
                members.insert(Commitment::new(Element::from(who)).unwrap(), until);
            }
            let mut bytes = encode(length(), &state).into_bytes();
            prop_assert_eq!(decode(&bytes), Some((600, state)));
            let place = place % bytes.len();
            bytes[place] ^= by;
            prop_assert_eq!(decode(&bytes), None);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
