//! One request and what is answered.

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, header::CONTENT_TYPE},
};
use serde_json::Value;
use tower::Service;
use utoipa_axum::router::OpenApiRouter;

use super::world::{State, World};
use crate::rest;

/// Longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// What was answered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) media: String,
    pub(super) body: String,
}

impl Answered {
    pub(super) fn json(&self) -> Value {
        assert_eq!(self.media, "application/json", "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A body and what it is said to be.
#[derive(Debug, Clone)]
pub(super) struct Sent(pub(super) Option<String>, pub(super) Vec<u8>);

impl Sent {
    pub(super) fn nothing() -> Self {
        Self(None, Vec::new())
    }

    pub(super) fn json(value: &Value) -> Self {
        Self(Some("application/json".to_owned()), value.to_string().into_bytes())
    }
}

/// All routes over such a world.
pub(super) fn router(world: &World) -> Router {
    rest::router(&world.groups(), OpenApiRouter::new())
}

/// Asks.
pub(super) async fn ask(router: &Router, method: &str, uri: &str, sent: Sent) -> Answered {
    let Sent(media, body) = sent;
    let request = Request::builder().method(method).uri(uri);
    let request = media.into_iter().fold(request, |request, name| request.header(CONTENT_TYPE, name));
    let request = request.body(Body::from(body)).unwrap();
    let response = router.clone().call(request).await.unwrap();
    let media = response.headers().get(CONTENT_TYPE).map(|value| value.to_str().unwrap().to_owned());
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), MAX_ANSWER_BYTES).await.unwrap();
    Answered { status, media: media.unwrap_or_default(), body: String::from_utf8(body.to_vec()).unwrap() }
}

/// What a case expects of the answer's body.
#[derive(Debug, Clone)]
pub(super) enum Told {
    /// Plain text.
    Text(String),
    /// Plain text that begins so.
    Begins(String),
    /// JSON.
    Json(Value),
    /// Nothing at all.
    Empty,
}

/// A row of nwaku's table, with one of its statuses.
pub(super) struct Case {
    /// Method and path, as the table has them.
    pub(super) row: (&'static str, &'static str),
    pub(super) status: u16,
    uri: String,
    sent: Sent,
    given: Box<dyn Fn(&mut State)>,
    told: Told,
}

impl Case {
    pub(super) fn of(method: &'static str, path: &'static str) -> Self {
        let given = Box::new(|_: &mut State| {});
        let (uri, sent) = (path.to_owned(), Sent::nothing());
        Self { row: (method, path), status: 0, uri, sent, given, told: Told::Empty }
    }

    /// The path with something in its places, or a query.
    pub(super) fn at(self, uri: impl Into<String>) -> Self {
        Self { uri: uri.into(), ..self }
    }

    /// A body.
    pub(super) fn with(self, value: &Value) -> Self {
        Self { sent: Sent::json(value), ..self }
    }

    /// Any body under any name.
    pub(super) fn sending(self, media: &str, body: &str) -> Self {
        Self { sent: Sent(Some(media.to_owned()), body.as_bytes().to_vec()), ..self }
    }

    /// How the node is.
    pub(super) fn given(self, given: impl Fn(&mut State) + 'static) -> Self {
        Self { given: Box::new(given), ..self }
    }

    pub(super) fn says(self, status: u16, told: Told) -> Self {
        Self { status, told, ..self }
    }

    pub(super) fn ok(self) -> Self {
        self.says(200, Told::Text("OK".to_owned()))
    }

    pub(super) fn text(self, status: u16, words: &str) -> Self {
        self.says(status, Told::Text(words.to_owned()))
    }

    pub(super) fn begins(self, status: u16, words: &str) -> Self {
        self.says(status, Told::Begins(words.to_owned()))
    }

    pub(super) fn json(self, status: u16, value: Value) -> Self {
        self.says(status, Told::Json(value))
    }

    /// Asks, and compares.
    pub(super) async fn check(&self) {
        let world = World::new();
        (self.given)(&mut world.state());
        let answered = ask(&router(&world), self.row.0, &self.uri, self.sent.clone()).await;
        let asked = format!("{} {} {:?}: {answered:?}", self.row.0, self.uri, self.sent);
        assert_eq!(answered.status, self.status, "{asked}");
        match &self.told {
            Told::Text(words) => assert_eq!((&*answered.media, &answered.body), ("text/plain", words), "{asked}"),
            Told::Begins(words) => {
                assert!(answered.media == "text/plain" && answered.body.starts_with(words), "{asked}");
            }
            Told::Json(value) => assert_eq!(answered.json(), *value, "{asked}"),
            Told::Empty => assert_eq!(answered.body, "", "{asked}"),
        }
    }
}

/// Checks them all.
pub(super) async fn check_all(cases: Vec<Case>) {
    for case in cases {
        case.check().await;
    }
}
