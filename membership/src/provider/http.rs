//! Questions over HTTP, with TLS where the address says so: shell.
//!
//! Connections are kept between questions. Redirects are not followed: who answers is who was named.

use std::{fmt, str::FromStr, time::Duration};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::Incoming,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use super::{Fault, MAX_ANSWER_BYTES, Transport};

/// Connections that are kept to one provider while nothing is asked.
const IDLE_CONNECTIONS: usize = 2;

/// The address of a provider. Its path is often a secret, so only its host is ever shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(Uri);

/// It is no address of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no address of a provider: it must be http://HOST or https://HOST, with a port and a path if need be")]
pub struct NoUrl;

impl FromStr for Url {
    type Err = NoUrl;

    fn from_str(text: &str) -> Result<Self, NoUrl> {
        let uri: Uri = text.trim().parse().map_err(|_| NoUrl)?;
        let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
        let authority = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        if scheme && authority && uri.host().is_some_and(|host| !host.is_empty()) { Ok(Self(uri)) } else { Err(NoUrl) }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.host().unwrap_or_default())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The client.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Http {
    /// A client that trusts the public authorities.
    #[must_use]
    pub fn new() -> Self {
        let https = HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(IDLE_CONNECTIONS).build(https);
        Self { client }
    }

    async fn ask(&self, url: &Url, body: Vec<u8>) -> Result<Bytes, Fault> {
        let request = Request::post(url.0.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body.into()))
            .map_err(|_| Fault::Unreachable)?;
        let response = self.client.request(request).await.map_err(|_| Fault::Unreachable)?;
        match response.status() {
            status if status.is_success() => read(response).await,
            StatusCode::TOO_MANY_REQUESTS => Err(Fault::RateLimited { after: after(&response) }),
            status => Err(Fault::Status(status.as_u16())),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self::new()
    }
}

impl Transport for Http {
    fn post<'a>(&'a self, url: &'a Url, body: Vec<u8>) -> BoxFuture<'a, Result<Bytes, Fault>> {
        self.ask(url, body).boxed()
    }
}

async fn read(response: Response<Incoming>) -> Result<Bytes, Fault> {
    let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
    body.map(http_body_util::Collected::to_bytes)
        .map_err(|error| if error.is::<LengthLimitError>() { Fault::TooLong } else { Fault::Unreachable })
}

/// What `Retry-After` asks for, in seconds; a date is as good as nothing.
fn after(response: &Response<Incoming>) -> Option<Duration> {
    let secs = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_its_host_alone() {
        let url: Url = "https://linea.example:8443/v3/secret?key=secret".parse().unwrap();
        assert_eq!(format!("{url} {url:?}"), "linea.example linea.example");
        for none in ["", "linea.example", "ws://linea.example", "https://", "/v3", "http://me:word@linea.example/"] {
            assert_eq!(none.parse::<Url>(), Err(NoUrl), "{none}");
        }
    }
}
