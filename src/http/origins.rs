//! Whose pages in a browser may read what is served: patterns of origins.  Source: nwaku's `--rest-allow-origin`.
//!
//! Without a pattern whoever reads is not looked at, for browsers keep pages of others from what they have read; but nothing is changed for a
//! page that is not our own: browsers send what it posts before they ask, and say where it is from. With some, a request that names an origin which
//! fits none is refused.
//!
//! On loopback a request under a name is refused, other than `localhost` and names that a pattern fits: whoever owns a name can lead it to this
//! machine once his page is open in a browser here, which then takes ours for a part of his. Elsewhere names are how others reach us.

use std::{net::IpAddr, str::FromStr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode, Uri,
        header::{ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_ORIGIN, HOST, ORIGIN, VARY},
        uri::Authority,
    },
    middleware::Next,
    response::{IntoResponse, Response},
};

/// Longest pattern, in bytes: a host name and what stands around it. Comparing takes at most this times the length of an origin,
/// which the server bounds with all headers.
const MAX_PATTERN_BYTES: usize = 300;

/// Some origins: in it `*` stands for anything, and `?` for one character. Without a scheme it is http and https.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

/// Not a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "give an origin such as https://example.org or localhost:*, or * for all, of at most {MAX_PATTERN_BYTES} bytes"
)]
pub struct PatternError;

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let is_fit = text.len() <= MAX_PATTERN_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_fit { Ok(Self(text.to_ascii_lowercase())) } else { Err(PatternError) }
    }
}

impl Pattern {
    /// Is it empty, which fits nothing? Compose files pass it for what is not set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn fits(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        if self.0.contains("://") {
            return fits(self.0.as_bytes(), origin.as_bytes());
        }
        let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        self.is_all() || host.is_some_and(|host| fits(self.0.as_bytes(), host.as_bytes()))
    }

    fn is_all(&self) -> bool {
        self.0 == "*"
    }
}

/// From the last `*` on it is tried again one place further, so that no pattern takes more than the product of both lengths.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut star = None;
    while seen < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[seen] => (at, seen) = (at + 1, seen + 1),
            _ => {
                let Some((place, from)) = star else { return false };
                star = Some((place, from + 1));
                (at, seen) = (place + 1, from + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// What is answered to an origin.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// Nothing is looked at.
    Unlooked,
    /// Everybody may read it.
    All,
    /// This one may.
    This(HeaderValue),
    /// Nobody of that place may.
    Foreign,
    /// More than one origin is named.
    Ambiguous,
}

/// Who may ask.
#[derive(Debug, Clone)]
pub(super) struct Looked {
    /// Pages that may.
    pub(super) patterns: Arc<[Pattern]>,
    /// Is it asked from this machine alone?
    pub(super) on_loopback: bool,
}

impl Looked {
    /// Is it asked for by a name that may have been led here? A host that can't be read is none of ours.
    fn is_led_here(&self, headers: &HeaderMap) -> bool {
        let Some(host) = headers.get(HOST).filter(|_| self.on_loopback) else { return false };
        let Some(asked) = host.to_str().ok().and_then(place) else { return true };
        let page = format!("http://{asked}");
        !is_ours(asked.host()) && !self.patterns.iter().any(|pattern| pattern.fits(&page))
    }
}

fn answer(patterns: &[Pattern], method: &Method, headers: &HeaderMap) -> Answer {
    let mut origins = headers.get_all(ORIGIN).iter();
    match (patterns, origins.next(), origins.next()) {
        (_, None, _) => Answer::Unlooked,
        ([], ..) if method.is_safe() => Answer::Unlooked,
        ([], Some(origin), None) if is_own(origin, headers) => Answer::Unlooked,
        ([], ..) => Answer::Foreign,
        (_, _, Some(_)) => Answer::Ambiguous,
        ([only], ..) if only.is_all() => Answer::All,
        (_, Some(origin), None) => {
            let fits = origin.to_str().is_ok_and(|origin| patterns.iter().any(|pattern| pattern.fits(origin)));
            if fits { Answer::This(origin.clone()) } else { Answer::Foreign }
        }
    }
}

/// Is it a page of this very server? Only under an address or `localhost`: any other name may have been led here by its owner.
fn is_own(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let of_page = origin.to_str().ok().filter(|origin| origin.contains("://")).and_then(place);
    let asked = headers.get(HOST).and_then(|host| host.to_str().ok()).and_then(place);
    let (Some(of_page), Some(asked)) = (of_page, asked) else { return false };
    of_page == asked && is_ours(asked.host())
}

fn place(text: &str) -> Option<Authority> {
    text.parse::<Uri>().ok()?.authority().cloned()
}

/// An address, or the one name that is of this machine everywhere.
fn is_ours(host: &str) -> bool {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// Lets a request through or refuses it, and says so to the browser.
pub(super) async fn look(State(looked): State<Looked>, request: Request, next: Next) -> Response {
    if looked.is_led_here(request.headers()) {
        return (StatusCode::FORBIDDEN, "Host not allowed").into_response();
    }
    match answer(&looked.patterns, request.method(), request.headers()) {
        Answer::Unlooked => next.run(request).await,
        Answer::Foreign => (StatusCode::FORBIDDEN, "Origin not allowed").into_response(),
        Answer::Ambiguous => (StatusCode::BAD_REQUEST, "Only a single Origin header must be specified").into_response(),
        Answer::All => {
            let mut response = next.run(request).await;
            response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            response.headers_mut().insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Content-Type"));
            response
        }
        Answer::This(origin) => {
            let mut response = next.run(request).await;
            response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            response.headers_mut().insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Content-Type"));
            response.headers_mut().append(VARY, HeaderValue::from_static("Origin"));
            response
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    #[test]
    fn patterns_are_those_of_nwaku() {
        for (text, yes, no) in [
            ("*", &["https://a", "null", "x"][..], &[][..]),
            (
                "https://example.org",
                &["https://example.org", "HTTPS://EXAMPLE.ORG"],
                &["http://example.org", "https://example.org:1"],
            ),
            (
                "example.org",
                &["http://example.org", "https://example.org"],
                &["ftp://example.org", "https://an.example.org", "example.org"],
            ),
            ("localhost:*", &["http://localhost:80", "https://localhost:"], &["http://localhost"]),
            ("*.example.org", &["https://a.b.example.org"], &["https://example.org", "https://a.example.org.evil"]),
            ("https://node-?.org", &["https://node-1.org"], &["https://node-.org", "https://node-12.org"]),
            ("http*://a*b*c", &["https://aXbYbc", "http://abc"], &["https://acb"]),
        ] {
            for origin in yes {
                assert!(pattern(text).fits(origin), "{text} {origin}");
            }
            for origin in no {
                assert!(!pattern(text).fits(origin), "{text} {origin}");
            }
        }
        assert_eq!("a b".parse::<Pattern>(), Err(PatternError));
        assert_eq!("a".repeat(301).parse::<Pattern>(), Err(PatternError));
    }

    #[test]
    fn answers_by_origin() {
        let headers = |origins: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for origin in origins {
                headers.append(ORIGIN, HeaderValue::from_static(origin));
            }
            headers
        };
        let of = |patterns: &[&str], origins: &[&'static str]| {
            let patterns: Vec<_> = patterns.iter().map(|text| pattern(text)).collect();
            answer(&patterns, &Method::GET, &headers(origins))
        };
        let this = Answer::This(HeaderValue::from_static("http://a"));
        assert_eq!(of(&[], &["http://a"]), Answer::Unlooked);
        assert_eq!(of(&["a"], &[]), Answer::Unlooked);
        assert_eq!(of(&["*"], &["http://a"]), Answer::All);
        assert_eq!(of(&["*", "b"], &["http://a"]), this, "only alone it is all");
        assert_eq!(of(&["b", "a"], &["http://a"]), this);
        assert_eq!(of(&["b"], &["http://a"]), Answer::Foreign);
        assert_eq!(of(&["*"], &["http://a", "http://b"]), Answer::Ambiguous);
    }

    #[tokio::test]
    async fn the_browser_is_told_what_it_may() {
        let asked = async |patterns: &[&str], origins: &[&'static str]| {
            let looked = Looked { patterns: patterns.iter().map(|text| pattern(text)).collect(), on_loopback: false };
            let look = axum::middleware::from_fn_with_state(looked, look);
            let mut router = axum::Router::new().route("/", axum::routing::get(async || "read")).layer(look);
            let mut request = Request::new(axum::body::Body::empty());
            origins.iter().for_each(|origin| {
                request.headers_mut().append(ORIGIN, HeaderValue::from_static(origin));
            });
            let Ok(response) = tower::Service::call(&mut router, request).await;
            let header =
                |name| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
            let told = [ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_ALLOW_HEADERS, VARY].map(header);
            let body = axum::body::to_bytes(response.into_body(), 1_000).await.unwrap();
            (told, String::from_utf8(body.to_vec()).unwrap())
        };
        let told = |headers: [&str; 3], body: &str| (headers.map(str::to_owned), body.to_owned());
        assert_eq!(asked(&["*"], &["http://a"]).await, told(["*", "Content-Type", ""], "read"));
        assert_eq!(asked(&["a", "b"], &["http://a"]).await, told(["http://a", "Content-Type", "Origin"], "read"));
        assert_eq!(asked(&[], &["http://a"]).await, told(["", "", ""], "read"));
        assert_eq!(asked(&["a"], &["http://c"]).await, told(["", "", ""], "Origin not allowed"));
        let two = asked(&["a"], &["http://a", "http://a"]).await;
        assert_eq!(two, told(["", "", ""], "Only a single Origin header must be specified"));
    }

    #[test]
    fn h84_without_a_list_nothing_is_changed_for_pages_of_others() {
        let of = |method: Method, origin: &'static str, host: &'static str| {
            let headers = [(ORIGIN, origin), (HOST, host)].map(|(name, value)| (name, HeaderValue::from_static(value)));
            answer(&[], &method, &headers.into_iter().collect())
        };
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            for own in ["127.0.0.1:8645", "localhost:8645", "LocalHost:8645", "[::1]:8645"] {
                let origin: &'static str = format!("http://{own}").leak();
                assert_eq!(of(method.clone(), origin, own), Answer::Unlooked, "{own}");
                assert_eq!(of(method.clone(), "http://evil.example", own), Answer::Foreign, "{own}");
                assert_eq!(of(method.clone(), "null", own), Answer::Foreign, "{own}");
            }
            let led_here = of(method.clone(), "http://evil.example:8645", "evil.example:8645");
            assert_eq!(led_here, Answer::Foreign, "a name whose owner points it here");
            assert_eq!(of(method, "http://localhost:80", "localhost:8645"), Answer::Foreign, "another server");
        }
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            assert_eq!(of(method, "http://evil.example", "localhost:8645"), Answer::Unlooked);
        }
    }

    #[test]
    fn h84_on_loopback_only_names_of_this_machine_are_answered_to() {
        let refused = |host: &'static str, on_loopback, patterns: &[&str]| {
            let patterns = patterns.iter().map(|text| pattern(text)).collect();
            Looked { patterns, on_loopback }
                .is_led_here(&[(HOST, HeaderValue::from_static(host))].into_iter().collect())
        };
        for ours in ["localhost:8645", "LOCALHOST", "127.0.0.1:8645", "[::1]:8645", "0.0.0.0:8645", "192.168.1.7"] {
            assert!(!refused(ours, true, &[]), "{ours}");
        }
        for led_here in ["evil.example:8645", "EVIL.example", "localhost.evil.example", "a b", ""] {
            assert!(refused(led_here, true, &[]), "{led_here:?}");
            assert!(!refused(led_here, false, &[]), "{led_here:?}");
        }
        assert!(!refused("node.example", true, &["node.example"]));
        assert!(refused("node.example.evil", true, &["node.example"]));
        assert!(!refused("anything", true, &["*"]));
        let looked = Looked { patterns: Arc::default(), on_loopback: true };
        assert!(!looked.is_led_here(&HeaderMap::new()), "of HTTP/1.0, which no browser speaks");
    }

    /// The definition, which takes ages.
    fn fits_slowly(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], _) => text.is_empty(),
            ([b'*', rest @ ..], _) => (0..=text.len()).any(|skipped| fits_slowly(rest, &text[skipped..])),
            ([first, rest @ ..], [byte, left @ ..]) => (*first == b'?' || first == byte) && fits_slowly(rest, left),
            (_, []) => false,
        }
    }

    /// All words of up to so many of these letters.
    fn words(letters: &[u8], longest: usize) -> Vec<Vec<u8>> {
        let mut words = vec![Vec::new()];
        let mut last = words.clone();
        for _ in 0..longest {
            last = last.iter().flat_map(|word| letters.iter().map(|letter| [&word[..], &[*letter]].concat())).collect();
            words.extend(last.iter().cloned());
        }
        words
    }

    #[test]
    fn every_short_pattern_fits_what_its_definition_says() {
        let texts = words(b"ab", 5);
        for pattern in words(b"ab*?", 5) {
            for text in &texts {
                assert_eq!(fits(&pattern, text), fits_slowly(&pattern, text), "{pattern:?} {text:?}");
            }
        }
    }
}
