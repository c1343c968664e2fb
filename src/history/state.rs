//! What a run leaves for the next one: the resume file.
//!
//! It is written after each page, beside the old one and then in its place, so that a kill leaves one of the two. What came of a page
//! that had not ended comes again.

use std::{
    fs, io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use waku0::{
    Topic,
    mail::client::{PlaceAt, Resume, Wanted},
};

use super::server::MailServer;

/// Longest file read, in bytes: ten thousand topics, and the rest.
const MAX_BYTES: u64 = 1 << 20;

/// Why a resume file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// It can't be read or written.
    #[error("the resume file {0} can't be used: {1}")]
    Io(PathBuf, io::Error),
    /// It is something else.
    #[error("{0} is no resume file: {1}. Remove it to begin anew")]
    Malformed(PathBuf, String),
    /// It belongs to another request.
    #[error("{0} is of a request for other topics: name another file, or remove it to begin anew")]
    Other(PathBuf),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    from: u32,
    to: u32,
    topics: Vec<String>,
    /// What no server has answered.
    remaining: [u32; 2],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<Place>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Place {
    /// The server's key.
    server: String,
    asked: [u32; 2],
    cursor: String,
}

/// Reads the file, if there is one: the range of that request, and where to go on. The topics must be the same; a place is of use only
/// at its server.
///
/// # Errors
/// [`ResumeError`] names the file.
pub(super) fn read(
    path: &Path,
    topics: &[Topic],
    servers: &[MailServer],
) -> Result<Option<(RangeInclusive<u32>, Resume)>, ResumeError> {
    let Some(text) = read_text(path)? else { return Ok(None) };
    let malformed = |why: String| ResumeError::Malformed(path.to_owned(), why);
    let state: State = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
    if state.topics != names(topics) {
        return Err(ResumeError::Other(path.to_owned()));
    }
    let place = match state.place {
        None => None,
        Some(place) => {
            let mut cursor = [0; 36];
            hex::decode_to_slice(&place.cursor, &mut cursor).map_err(|error| malformed(error.to_string()))?;
            let server = servers.iter().position(|server| server.key() == place.server);
            server.map(|server| PlaceAt { server, asked: range(place.asked), cursor })
        }
    };
    Ok(Some((state.from..=state.to, Resume { remaining: range(state.remaining), place })))
}

/// Writes the file.
///
/// # Errors
/// [`ResumeError`] names the file.
pub(super) fn write(path: &Path, wanted: &Wanted, resume: &Resume, servers: &[MailServer]) -> Result<(), ResumeError> {
    let pair = |range: &RangeInclusive<u32>| [*range.start(), *range.end()];
    let place = resume.place.as_ref().and_then(|place| {
        let server = servers.get(place.server)?.key();
        Some(Place { server, asked: pair(&place.asked), cursor: hex::encode(place.cursor) })
    });
    let [from, to] = pair(&wanted.sent);
    let state = State { from, to, topics: names(&wanted.topics), remaining: pair(&resume.remaining), place };
    write_json(path, &state)
}

/// What is in such a file, if there is one.
///
/// # Errors
/// [`ResumeError`] names the file.
pub(super) fn read_text(path: &Path) -> Result<Option<String>, ResumeError> {
    let unreadable = |error| ResumeError::Io(path.to_owned(), error);
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(error)),
        Ok(file) if file.len() > MAX_BYTES => Err(ResumeError::Malformed(path.to_owned(), "it is too long".to_owned())),
        Ok(_) => fs::read(path).map_err(unreadable).and_then(|bytes| {
            let none = |error: std::string::FromUtf8Error| ResumeError::Malformed(path.to_owned(), error.to_string());
            String::from_utf8(bytes).map(Some).map_err(none)
        }),
    }
}

/// Puts another in its place.
///
/// # Errors
/// [`ResumeError`] names the file.
pub(super) fn write_json(path: &Path, state: &impl Serialize) -> Result<(), ResumeError> {
    let unwritable = |error| ResumeError::Io(path.to_owned(), error);
    let text = serde_json::to_string(state).map_err(|error| unwritable(error.into()))?;
    let beside = path.with_added_extension("new");
    fs::write(&beside, text).map_err(unwritable)?;
    fs::rename(&beside, path).map_err(unwritable)
}

/// Removes the file: nothing is left to be asked for.
///
/// # Errors
/// [`ResumeError`] names the file.
pub(super) fn remove(path: &Path) -> Result<(), ResumeError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ResumeError::Io(path.to_owned(), error)),
        _ => Ok(()),
    }
}

fn range([from, to]: [u32; 2]) -> RangeInclusive<u32> {
    from..=to
}

fn names(topics: &[Topic]) -> Vec<String> {
    topics.iter().map(Topic::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(first: u8) -> MailServer {
        let key = devp2p::key::NodeKey::from_bytes(&[first; 32]).unwrap().public();
        format!("enode://{key}:password@127.0.0.1:30303").parse().unwrap()
    }

    #[test]
    fn what_is_written_is_read_at_the_same_server() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        let topics = vec![Topic([1, 2, 3, 4])];
        let servers = [server(1), server(2)];
        let read = |topics: &[Topic], servers: &[MailServer]| read(&path, topics, servers);
        assert!(read(&topics, &servers).unwrap().is_none());
        let wanted = Wanted { sent: 10..=20, topics: topics.clone() };
        let place = PlaceAt { server: 1, asked: 12..=20, cursor: [7; 36] };
        let resume = Resume { remaining: 15..=20, place: Some(place.clone()) };
        write(&path, &wanted, &resume, &servers).unwrap();
        assert_eq!(read(&topics, &servers).unwrap(), Some((10..=20, resume.clone())));
        let turned = [server(2), server(1)];
        let there = PlaceAt { server: 0, ..place };
        let at_turned = Resume { place: Some(there), ..resume.clone() };
        assert_eq!(read(&topics, &turned).unwrap(), Some((10..=20, at_turned)));
        assert_eq!(read(&topics, &[server(1)]).unwrap(), Some((10..=20, Resume { place: None, ..resume })));
        assert!(!fs::read_to_string(&path).unwrap().contains("password"));
        assert!(matches!(read(&[], &servers), Err(ResumeError::Other(_))));
        remove(&path).unwrap();
        remove(&path).unwrap();
        for broken in ["", "{}", "[1]", "{\"from\":1"] {
            fs::write(&path, broken).unwrap();
            assert!(matches!(read(&topics, &servers), Err(ResumeError::Malformed(..))), "{broken}");
        }
    }
}
