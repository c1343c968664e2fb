//! Bodies of requests: read within bounds, and decoded as nwaku does.
//!
//! A field that is given twice is refused, one that is not known is passed over. What is too long is read to its end all the same, up to
//! [`MAX_DRAINED_BYTES`], so that the client reads an answer and not a broken connection.

use std::{collections::HashSet, fmt, time::Duration};

use axum::{
    body::Body as RawBody,
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor},
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use tracing::debug;

use super::answer;

/// Longest body that is taken, in bytes.  Deployed: nwaku.
pub(crate) const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// Longest body that is read to its end, in bytes; of what is over [`MAX_BODY_BYTES`] nothing is kept.
const MAX_DRAINED_BYTES: usize = 4 * MAX_BODY_BYTES;

/// How long a body may take.
const BODY_TIME: Duration = Duration::from_secs(60);

/// Bodies over [`SMALL_BYTES`] in memory at once; a further one waits, [`BODY_TIME`] in all.
const LARGE_BODIES: usize = 8;

/// No message of any network is longer, in bytes.
const SMALL_BYTES: usize = 512 * 1024;

/// Unknown fields of a request that the log tells.
const MAX_TOLD: usize = 8;

/// Characters of each.
const MAX_TOLD_CHARS: usize = 64;

static LARGE: Semaphore = Semaphore::const_new(LARGE_BODIES);

/// Which media types a body may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accepted {
    /// JSON, whichever of the two it is called.
    JsonOrText,
    /// JSON under its own name.
    JsonAlone,
}

impl Accepted {
    fn has(self, media_type: &str) -> bool {
        let is = |name: &str| media_type.eq_ignore_ascii_case(name);
        is("application/json") || self == Self::JsonOrText && is("text/plain")
    }

    fn names(self) -> &'static str {
        match self {
            Self::JsonOrText => "application/json or text/plain",
            Self::JsonAlone => "application/json",
        }
    }
}

/// Why a body is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// There is none.
    #[error("Missing content body")]
    Missing,
    /// It is said to be something else.
    #[error("Wrong Content-Type, expected {0}")]
    WrongType(&'static str),
    /// It is not what it should be.
    #[error("Invalid content body, could not decode. {0}")]
    Undecodable(String),
    /// It is over [`MAX_BODY_BYTES`].
    #[error("The body is over {MAX_BODY_BYTES} bytes")]
    TooLong,
    /// The client stopped sending it.
    #[error("The body ends too early")]
    Interrupted,
    /// It takes longer than [`BODY_TIME`].
    #[error("The body takes longer than {} s", BODY_TIME.as_secs())]
    Slow,
}

impl Refused {
    /// The status that says so.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Missing | Self::WrongType(_) | Self::Undecodable(_) | Self::Interrupted => StatusCode::BAD_REQUEST,
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        answer::text(self.status(), self.to_string())
    }
}

/// A decoded body under either media type, refused in plain text.
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refused> {
        decode(request, Accepted::JsonOrText).await.map(Self)
    }
}

/// Reads and decodes the body of a request.
pub(super) async fn decode<T: DeserializeOwned>(request: Request, accepted: Accepted) -> Result<T, Refused> {
    decode_within(request, accepted, BODY_TIME).await
}

async fn decode_within<T: DeserializeOwned>(
    request: Request,
    accepted: Accepted,
    limit: Duration,
) -> Result<T, Refused> {
    let (parts, body) = request.into_parts();
    let (bytes, _room) = timeout(limit, read(body)).await.map_err(|_| Refused::Slow)??;
    if bytes.is_empty() {
        return Err(Refused::Missing);
    }
    if !media_type(&parts.headers).is_some_and(|name| accepted.has(name)) {
        return Err(Refused::WrongType(accepted.names()));
    }
    let undecodable = |error: serde_json::Error| Refused::Undecodable(error.to_string());
    serde_json::from_slice::<Unique>(&bytes).map_err(undecodable)?;
    let (decoded, unknown) = known(&bytes).map_err(undecodable)?;
    if !unknown.is_empty() {
        debug!(?unknown, path = parts.uri.path(), "fields of a request that are not known are passed over");
    }
    Ok(decoded)
}

/// What is known, and the names of fields that are not: [`MAX_TOLD`] of them, each as far as [`MAX_TOLD_CHARS`].
fn known<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<(T, Vec<String>)> {
    let (mut unknown, mut json) = (Vec::new(), serde_json::Deserializer::from_slice(bytes));
    let decoded = serde_ignored::deserialize(&mut json, |name| {
        if unknown.len() < MAX_TOLD {
            unknown.push(name.to_string().chars().take(MAX_TOLD_CHARS).collect());
        }
    })?;
    json.end()?;
    Ok((decoded, unknown))
}

/// What the body is said to be, without its parameters.
fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    value.split(';').next().map(str::trim)
}

async fn read(mut body: RawBody) -> Result<(Vec<u8>, Option<SemaphorePermit<'static>>), Refused> {
    let (mut bytes, mut passed, mut room) = (Vec::new(), 0_usize, None);
    while let Some(frame) = body.frame().await {
        // Trailers are no part of it.
        let Ok(piece) = frame.map_err(|_| Refused::Interrupted)?.into_data() else { continue };
        passed = passed.saturating_add(piece.len());
        if passed > MAX_DRAINED_BYTES {
            return Err(Refused::TooLong);
        }
        if passed > MAX_BODY_BYTES {
            (bytes, room) = (Vec::new(), None);
            continue;
        }
        if passed > SMALL_BYTES && room.is_none() {
            // It is never closed.
            room = LARGE.acquire().await.ok();
        }
        bytes.extend_from_slice(&piece);
    }
    if passed > MAX_BODY_BYTES { Err(Refused::TooLong) } else { Ok((bytes, room)) }
}

/// Any JSON in which no object has a name twice.
struct Unique;

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Unique;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_str<E>(self, _: &str) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_unit<E>(self) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Unique, A::Error> {
        while items.next_element::<Unique>()?.is_some() {}
        Ok(Unique)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Unique, A::Error> {
        let mut names = HashSet::new();
        while let Some((name, Unique)) = fields.next_entry::<String, Unique>()? {
            if names.contains(&name) {
                return Err(A::Error::custom(format_args!("Multiple `{name}` fields found")));
            }
            names.insert(name);
        }
        Ok(Unique)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll},
    };

    use axum::body::Bytes;
    use hyper::body::Frame;
    use serde_json::Value;

    use super::*;

    fn request(media_type: Option<&str>, body: impl Into<RawBody>) -> Request {
        let request = Request::builder();
        let request = media_type.into_iter().fold(request, |request, name| request.header(CONTENT_TYPE, name));
        request.body(body.into()).unwrap()
    }

    async fn decoded(media_type: &str, body: &str, accepted: Accepted) -> Result<Value, Refused> {
        decode(request(Some(media_type), body.to_owned()), accepted).await
    }

    #[tokio::test]
    async fn media_types_are_those_that_a_route_accepts() {
        use Accepted::{JsonAlone, JsonOrText};
        for (media_type, accepted, is_fit) in [
            ("application/json", JsonAlone, true),
            ("Application/JSON; charset=utf-8", JsonAlone, true),
            ("text/plain", JsonAlone, false),
            ("text/plain;charset=utf-8", JsonOrText, true),
            ("application/json", JsonOrText, true),
            ("application/x-www-form-urlencoded", JsonOrText, false),
            ("", JsonOrText, false),
        ] {
            let answer = decoded(media_type, "[]", accepted).await;
            let expected = if is_fit { Ok(serde_json::json!([])) } else { Err(Refused::WrongType(accepted.names())) };
            assert_eq!(answer, expected, "{media_type} {accepted:?}");
        }
        let unnamed = decode::<Value>(request(None, "[]"), JsonOrText).await;
        assert_eq!(unnamed, Err(Refused::WrongType(JsonOrText.names())));
        assert_eq!(decoded("text/plain", "", JsonOrText).await, Err(Refused::Missing));
    }

    #[test]
    fn fields_that_are_not_known_are_passed_over_and_named() {
        #[derive(Debug, Deserialize)]
        struct Known {
            known: Vec<u8>,
        }
        let (one, unknown) = known::<Known>(br#"{"odd": {"a": 1}, "known": [7], "b.c": null}"#).unwrap();
        assert_eq!((one.known, unknown), (vec![7], vec!["odd".to_owned(), "b.c".to_owned()]));
        let many = (0..100).map(|n| format!("\"{n}{}\": 0, ", "x".repeat(100))).collect::<String>();
        let (_, unknown) = known::<Known>(format!("{{{many} \"known\": []}}").as_bytes()).unwrap();
        assert!(unknown.len() == MAX_TOLD && unknown.iter().all(|name| name.len() == MAX_TOLD_CHARS), "{unknown:?}");
        assert!(known::<Known>(br#"{"known": []} {}"#).is_err());
    }

    #[tokio::test]
    async fn h84_no_object_has_a_name_twice_and_depth_is_bounded() {
        for (body, is_fit) in [
            (r#"{"a":1,"b":{"a":2}}"#, true),
            (r#"{"a":1,"a":1}"#, false),
            (r#"{"b":[{"a":null,"\u0061":1}]}"#, false),
            (r#"[true, -1, 1.5, 18446744073709551615, "x", null, {}]"#, true),
            (r#"{"a":1"#, false),
            (r#"{} {}"#, false),
        ] {
            let answer = decoded("application/json", body, Accepted::JsonAlone).await;
            assert_eq!(answer.is_ok(), is_fit, "{body}: {answer:?}");
        }
        let deep = "[".repeat(100_000);
        let answer = decoded("application/json", &deep, Accepted::JsonAlone).await;
        assert!(matches!(answer, Err(Refused::Undecodable(_))), "{answer:?}");
    }

    #[tokio::test]
    async fn what_is_too_long_is_read_and_refused() {
        let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
        let answer = decoded("text/plain", &text(MAX_BODY_BYTES), Accepted::JsonOrText).await;
        assert!(answer.is_ok_and(|text| text.as_str().is_some_and(|text| text.len() == MAX_BODY_BYTES - 2)));
        for bytes in [MAX_BODY_BYTES + 1, MAX_DRAINED_BYTES + 1] {
            let answer = decoded("text/plain", &text(bytes), Accepted::JsonOrText).await;
            assert_eq!(
                answer.map_err(|refused| (refused.status(), refused)),
                Err((StatusCode::PAYLOAD_TOO_LARGE, Refused::TooLong))
            );
        }
        assert_eq!(LARGE.available_permits(), LARGE_BODIES);
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_waited_for_no_longer() {
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
        sender.send(Ok(Bytes::from_static(b"["))).await.unwrap();
        let request = request(Some("text/plain"), RawBody::new(Pieces(receiver)));
        let answer = decode_within::<Value>(request, Accepted::JsonOrText, Duration::from_millis(5)).await;
        assert_eq!(answer, Err(Refused::Slow));
        drop(sender);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_none() {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        sender.send(Err(std::io::Error::other("gone"))).await.unwrap();
        let request = request(Some("text/plain"), RawBody::new(Pieces(receiver)));
        let answer = decode::<Value>(request, Accepted::JsonOrText).await;
        assert_eq!(answer, Err(Refused::Interrupted));
    }

    /// A body of what comes through a channel.
    struct Pieces(tokio::sync::mpsc::Receiver<Result<Bytes, std::io::Error>>);

    impl hyper::body::Body for Pieces {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
            self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
        }
    }
}
