//! One request to an HTTP server near by, ours or another program's, and its answer.
//!
//! Without TLS: such servers are on loopback, or behind something that ends it. Limits: an answer of [`MAX_ANSWER_BYTES`], within the time that
//! the caller gives.

use std::{fmt, str::FromStr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, StatusCode, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};

/// Longest answer read, in bytes: some thousand ends of one content.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    /// Host and port.
    pub(crate) authority: String,
    /// What stands before every path; empty for nothing.
    base: String,
}

/// A text that is no such place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no http://HOST:PORT")]
pub(crate) struct UrlError(String);

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let wrong = || UrlError(text.chars().take(80).collect());
        let rest = text.strip_prefix("http://").ok_or_else(wrong)?;
        let (authority, base) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let port = authority.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
        let is_clean = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'@');
        match port.and_then(|port| port.parse::<u16>().ok()) {
            Some(_) if is_clean(rest) => {
                Ok(Self { authority: authority.to_owned(), base: base.trim_end_matches('/').to_owned() })
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.base)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("nobody answers at {0}: {1}")]
pub(crate) struct Unreached(String, String);

impl Unreached {
    /// What went wrong, without the place.
    pub(crate) fn why(&self) -> &str {
        &self.1
    }
}

/// What is answered there to a GET of `path`.
pub(crate) async fn get(authority: &str, path: &str, within: Duration) -> Result<(StatusCode, Bytes), Unreached> {
    let request = Request::get(path).header(HOST, authority).body(Full::default());
    answer(authority, request, within).await
}

/// What is answered there to a POST of `body`; `path` begins with a slash.
pub(crate) async fn post(
    to: &Url,
    path: &str,
    body: &Value,
    within: Duration,
) -> Result<(StatusCode, Bytes), Unreached> {
    let request = Request::post(format!("{}{path}", to.base))
        .header(HOST, &to.authority)
        .header("Content-Type", "application/json")
        .body(Full::from(body.to_string()));
    answer(&to.authority, request, within).await
}

async fn answer(
    authority: &str,
    request: hyper::http::Result<Request<Full<Bytes>>>,
    within: Duration,
) -> Result<(StatusCode, Bytes), Unreached> {
    let unreached = |why: String| Unreached(authority.to_owned(), why);
    let asked = async { ask(authority, request?).await };
    match timeout(within, asked).await {
        Err(_) => Err(unreached("no answer in time".to_owned())),
        Ok(Err(error)) => Err(unreached(format!("{error:#}"))),
        Ok(Ok(answered)) => Ok(answered),
    }
}

async fn ask(authority: &str, request: Request<Full<Bytes>>) -> anyhow::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(TcpStream::connect(authority).await?)).await?;
    // It ends with the answer; what went wrong with it, the answer says.
    tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
    Ok((status, body.map_err(anyhow::Error::from_boxed)?.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_a_host_and_a_port() {
        let url: Url = "http://127.0.0.1:8545".parse().unwrap();
        assert_eq!((url.authority.as_str(), url.base.as_str()), ("127.0.0.1:8545", ""));
        let below: Url = "http://[::1]:80/node/".parse().unwrap();
        assert_eq!((below.authority.as_str(), below.base.as_str()), ("[::1]:80", "/node"));
        assert_eq!(below.to_string(), "http://[::1]:80/node");
        for wrong in
            ["", "http://", "127.0.0.1:80", "https://h:1", "http://h", "http://:80", "http://h:x", "http://u:p@h:1"]
        {
            assert!(wrong.parse::<Url>().is_err(), "{wrong}");
        }
    }
}
