//! Where a question of store nodes goes on in the next run. Any node can go on there: it is a time, and what of that very time was printed.

use std::{collections::HashSet, path::Path};

use serde::{Deserialize, Serialize};
use waku2::{MessageHash, PubsubTopic, store::resume::Window};

use super::state::{self, ResumeError};

/// How far a question is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// What was asked for at first.
    pub(super) whole: Window,
    /// What has not come yet.
    pub(super) missing: Window,
    /// What was printed of its first nanosecond.
    pub(super) at_the_end: HashSet<MessageHash>,
}

impl Place {
    /// At the beginning.
    pub(super) fn of(whole: Window) -> Self {
        Self { whole, missing: whole, at_the_end: HashSet::new() }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    pubsub_topic: String,
    content_topics: Vec<String>,
    /// In unix nanoseconds, as all times here.
    from: i64,
    until: i64,
    missing_from: i64,
    printed: Vec<String>,
}

/// Reads the file, if there is one. The topics must be the same.
///
/// # Errors
/// [`ResumeError`] names the file.
pub(super) fn read(path: &Path, topic: &PubsubTopic, content_topics: &[String]) -> Result<Option<Place>, ResumeError> {
    let Some(text) = state::read_text(path)? else { return Ok(None) };
    let malformed = |what: String| ResumeError::Malformed(path.to_owned(), what);
    let state: State = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
    if state.pubsub_topic != topic.as_str() || state.content_topics != content_topics {
        return Err(ResumeError::Other(path.to_owned()));
    }
    if !(state.from <= state.missing_from && state.missing_from <= state.until) {
        return Err(malformed("its times are in no order".to_owned()));
    }
    let hash = |text: &String| {
        let bytes: Option<[u8; 32]> = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(MessageHash::from).ok_or_else(|| malformed("a hash of it is none".to_owned()))
    };
    let at_the_end = state.printed.iter().map(hash).collect::<Result<_, _>>()?;
    let until = state.until;
    let (whole, missing) = (Window { from: state.from, until }, Window { from: state.missing_from, until });
    Ok(Some(Place { whole, missing, at_the_end }))
}

/// Writes the file.
///
/// # Errors
/// [`ResumeError`] names the file.
pub(super) fn write(
    path: &Path,
    topic: &PubsubTopic,
    content_topics: &[String],
    place: &Place,
) -> Result<(), ResumeError> {
    let state = State {
        pubsub_topic: topic.to_string(),
        content_topics: content_topics.to_vec(),
        from: place.whole.from,
        until: place.whole.until,
        missing_from: place.missing.from,
        printed: place.at_the_end.iter().map(|hash| hex::encode(hash.as_bytes())).collect(),
    };
    state::write_json(path, &state)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_written_is_read_for_the_same_topics() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        let topic: PubsubTopic = "/waku/2/rs/16/32".parse().unwrap();
        let topics = vec!["/a/1/b/c".to_owned()];
        assert_eq!(read(&path, &topic, &topics).unwrap(), None);
        let whole = Window { from: 10, until: 90 };
        let missing = Window { from: 40, until: 90 };
        let at_the_end = [MessageHash::from([1; 32]), MessageHash::from([2; 32])].into();
        let place = Place { whole, missing, at_the_end };
        write(&path, &topic, &topics, &place).unwrap();
        assert_eq!(read(&path, &topic, &topics).unwrap(), Some(place));
        assert!(matches!(read(&path, &topic, &[]), Err(ResumeError::Other(_))));
        assert!(matches!(read(&path, &"/waku/2/rs/16/33".parse().unwrap(), &topics), Err(ResumeError::Other(_))));
        let good = fs::read_to_string(&path).unwrap();
        for (what, with) in [("40", "9"), ("40", "91"), ("\"0101", "\"01"), ("\"0101", "\"xx01"), ("{", "[")] {
            fs::write(&path, good.replacen(what, with, 1)).unwrap();
            assert!(matches!(read(&path, &topic, &topics), Err(ResumeError::Malformed(..))), "{what} as {with}");
        }
    }
}
