//! Who may ask over HTTP and WebSocket.
//!
//! A page in a browser reaches loopback too: by a request across origins, or by a name that its owner points there. So the name in `Host`
//! must be one that was allowed, or an address; and whoever names an `Origin` must be allowed by it. Programs name none.
//! Source: go-ethereum `node/rpcstack.go`, whose list of hosts this is.

use std::{
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{CONTENT_TYPE, HOST, ORIGIN, UPGRADE},
};
use jsonrpsee::server::{HttpBody, HttpRequest, HttpResponse};
use tower::{Layer, Service};

use crate::http::origins::Pattern;

/// What stands for any host.
const ANY: &str = "*";

/// An older name of JSON, which go-ethereum takes as well. No page can send it across origins without being asked first, either.
const JSON_REQUEST: &str = "application/jsonrequest";

/// Lets requests through, or refuses them.
#[derive(Debug, Clone)]
pub(crate) struct Guard(Arc<Allowed>);

#[derive(Debug)]
struct Allowed {
    hosts: Vec<String>,
    origins: Vec<Pattern>,
}

impl Guard {
    /// By names in lower case, and patterns of origins.
    pub(crate) fn new(hosts: &[String], origins: &[Pattern]) -> Self {
        Self(Arc::new(Allowed { hosts: hosts.to_vec(), origins: origins.to_vec() }))
    }
}

impl Allowed {
    /// What is answered instead, if anything.
    fn refusal(&self, method: &Method, headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
        if !self.host(headers) {
            return Some((StatusCode::FORBIDDEN, "invalid host specified"));
        }
        if !self.origin(headers) {
            return Some((StatusCode::FORBIDDEN, "origin not allowed"));
        }
        match *method {
            Method::POST => None,
            Method::GET if headers.contains_key(UPGRADE) => None,
            // Probes ask whether anybody is there.
            Method::GET => Some((StatusCode::OK, "")),
            _ => Some((StatusCode::METHOD_NOT_ALLOWED, "method not allowed")),
        }
    }

    fn host(&self, headers: &HeaderMap) -> bool {
        let mut named = headers.get_all(HOST).iter();
        let (Some(host), None) = (named.next(), named.next()) else { return false };
        let Ok(host) = host.to_str() else { return false };
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) && !name.ends_with(':') => name,
            _ => host,
        };
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        let name = name.to_ascii_lowercase();
        address || self.hosts.iter().any(|allowed| allowed == ANY || *allowed == name)
    }

    fn origin(&self, headers: &HeaderMap) -> bool {
        headers
            .get_all(ORIGIN)
            .iter()
            .all(|origin| origin.to_str().is_ok_and(|origin| self.origins.iter().any(|pattern| pattern.fits(origin))))
    }
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, allowed: Arc::clone(&self.0) }
    }
}

/// A service behind a [`Guard`].
#[derive(Debug, Clone)]
pub(crate) struct Guarded<S> {
    inner: S,
    allowed: Arc<Allowed>,
}

impl<S, B> Service<HttpRequest<B>> for Guarded<S>
where
    S: Service<HttpRequest<B>, Response = HttpResponse>,
    S::Future: Send + 'static,
{
    type Response = HttpResponse;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: HttpRequest<B>) -> Self::Future {
        if let Some(kind) = request.headers_mut().get_mut(CONTENT_TYPE)
            && kind == JSON_REQUEST
        {
            *kind = HeaderValue::from_static("application/json");
        }
        match self.allowed.refusal(request.method(), request.headers()) {
            None => Box::pin(self.inner.call(request)),
            Some((status, why)) => {
                let mut response = HttpResponse::new(HttpBody::from(why));
                *response.status_mut() = status;
                Box::pin(async move { Ok(response) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(method: Method, headers: &[(&'static str, &str)]) -> Option<u16> {
        let guard = Guard::new(&["localhost".into(), "node.example".into()], &["https://app.example".parse().unwrap()]);
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        guard.0.refusal(&method, &headers.into_iter().collect()).map(|(status, _)| status.as_u16())
    }

    #[test]
    fn h84_hosts_are_allowed_by_name_and_compared_without_case() {
        for host in ["localhost", "LocalHost:8545", "node.example:1", "127.0.0.1:8545", "[::1]:8545", "::1"] {
            assert_eq!(refusal(Method::POST, &[("host", host)]), None, "{host}");
        }
        for host in
            ["evil.example", "evil.example:8545", "localhost.evil.example", "127.0.0.1.evil.example", "", "\u{e9}"]
        {
            assert_eq!(refusal(Method::POST, &[("host", host)]), Some(403), "{host}");
        }
        assert_eq!(refusal(Method::POST, &[]), Some(403));
        assert_eq!(refusal(Method::POST, &[("host", "localhost"), ("host", "evil.example")]), Some(403));
    }

    #[test]
    fn h84_pages_are_refused_unless_allowed() {
        let from = |origin| refusal(Method::POST, &[("host", "localhost"), ("origin", origin)]);
        assert_eq!(
            (from("https://app.example"), from("https://evil.example"), from("null")),
            (None, Some(403), Some(403))
        );
        let upgrade = [("host", "localhost"), ("upgrade", "websocket"), ("origin", "https://evil.example")];
        assert_eq!(refusal(Method::GET, &upgrade), Some(403));
        assert_eq!(refusal(Method::GET, &upgrade[..2]), None);
    }

    #[test]
    fn h84_nothing_is_done_by_other_methods() {
        assert_eq!(refusal(Method::GET, &[("host", "localhost")]), Some(200));
        for method in [Method::PUT, Method::OPTIONS, Method::DELETE, Method::HEAD] {
            assert_eq!(refusal(method, &[("host", "localhost")]), Some(405));
        }
    }
}
