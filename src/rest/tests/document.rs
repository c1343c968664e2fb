//! The OpenAPI document is whole: it has every route there is, and every row of nwaku's table with its statuses.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    case::{Sent, ask, router},
    rows::ROWS,
    world::World,
};
use crate::rest::document::PATH;

/// Methods that a path of a document may have.
pub(super) const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// The document as it is served.
pub(super) async fn document() -> Value {
    let answered = ask(&router(&World::new()), "GET", PATH, Sent::nothing()).await;
    assert_eq!(answered.status, 200);
    answered.json()
}

/// Its operations: path, method, and what stands there.
pub(super) fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of = |(path, item): (&String, &Value)| {
        let methods = item.as_object().unwrap().iter().filter(|(name, _)| METHODS.contains(&name.as_str()));
        methods.map(|(method, operation)| (path.clone(), method.to_uppercase(), operation.clone())).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of).collect()
}

#[tokio::test]
async fn every_row_is_in_it_with_its_statuses() {
    let document = document().await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
    for (method, path, statuses) in ROWS {
        let responses = &document["paths"][path][method.to_lowercase()]["responses"];
        for status in *statuses {
            assert!(responses.get(status.to_string()).is_some(), "{method} {path} {status}: {responses}");
        }
    }
}

/// The paths of a router, as it prints itself: there is no other way to ask for them.
fn mounted(router: &axum::Router) -> BTreeSet<String> {
    let printed = format!("{router:?}");
    // What follows is of those paths where no route is.
    let routes = printed.split("fallback_router").next().unwrap_or_default();
    routes.split('"').skip(1).step_by(2).filter(|text| text.starts_with('/')).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_path_that_is_mounted_is_in_it_and_no_other() {
    let documented: BTreeSet<String> = operations(&document().await).into_iter().map(|(path, ..)| path).collect();
    let mounted = mounted(&router(&World::new()));
    assert!(mounted.len() > 30, "{mounted:?}");
    assert_eq!(documented, mounted);
}

#[tokio::test]
async fn every_method_that_it_lacks_is_answered_as_no_route() {
    let document = document().await;
    let operations = operations(&document);
    let router = router(&World::new());
    for path in document["paths"].as_object().unwrap().keys() {
        for method in METHODS.map(str::to_uppercase) {
            let uri = path.replace(['{', '}'], "");
            let answered = ask(&router, &method, &uri, Sent::nothing()).await;
            let is_there = operations.iter().any(|(known, of, _)| known == path && *of == method);
            // A GET answers HEAD as well.
            if !is_there && method != "HEAD" {
                let refused = answered.body.contains("not available by this path and method")
                    || answered.body.contains("Invalid path or method used");
                assert!(refused, "{method} {path}: {answered:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_it_refers_to_is_there() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = document().await;
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let place = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(place).is_some(), "{reference}");
    }
}
