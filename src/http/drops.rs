//! `GET /bridge/v1/drops`: the last envelopes and messages that did not cross, the latest first, and why.
//!
//! Parameters, each optional: `reason`, `direction` (`v1_to_v2` or `v2_to_v1`) and `route`, as the metrics have them; `limit` (rows,
//! all that are remembered unless set). What is remembered: [`bridge::handle::RECENT_DROPS`].

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use bridge::{Crossing, Direction, DropReason, handle::RECENT_DROPS};
use serde::Deserialize;
use serde_json::json;

use super::ended::Ended;

/// What may be asked for.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    reason: Option<String>,
    direction: Option<String>,
    route: Option<String>,
    limit: Option<usize>,
}

/// A wrong request; the text says which parameter.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Wrong {
    #[error("reason: there is no {0:?}; the metric bridge_messages_total has the list")]
    Reason(String),
    #[error("direction: give v1_to_v2 or v2_to_v1")]
    Direction,
    #[error("limit: give a number from 1 to {RECENT_DROPS}")]
    Limit,
}

impl Parameters {
    fn pick(self, drops: Vec<Crossing>) -> Result<Vec<Ended>, Wrong> {
        let Self { reason, direction, route, limit } = self;
        let limit = limit.unwrap_or(RECENT_DROPS);
        if !(1..=RECENT_DROPS).contains(&limit) {
            return Err(Wrong::Limit);
        }
        if let Some(reason) = reason.as_ref().filter(|text| !DropReason::all().any(|known| known.as_str() == **text)) {
            return Err(Wrong::Reason(reason.clone()));
        }
        if direction.as_ref().is_some_and(|text| !Direction::ALL.iter().any(|known| known.as_str() == text)) {
            return Err(Wrong::Direction);
        }
        let is_wanted = |dropped: &Ended| {
            reason.as_ref().is_none_or(|wanted| *wanted == dropped.reason)
                && direction.as_ref().is_none_or(|wanted| *wanted == dropped.direction)
                && route.as_ref().is_none_or(|wanted| *wanted == dropped.route)
        };
        Ok(drops.into_iter().rev().map(Ended::from).filter(is_wanted).take(limit).collect())
    }
}

/// What did not cross.
#[utoipa::path(get, path = "/bridge/v1/drops", tag = "bridge", params(Parameters), responses(
    (status = 200, description = "The latest first", body = Object),
    (status = 400, description = "A parameter is wrong", body = Object)))]
pub(super) async fn drops(
    State(bridge): State<bridge::Handle>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Response {
    let refusal = |error: String| (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response();
    match parameters {
        Err(rejection) => refusal(rejection.body_text()),
        Ok(Query(parameters)) => match parameters.pick(bridge.recent_drops()) {
            Ok(drops) => Json(json!({ "drops": drops })).into_response(),
            Err(wrong) => refusal(wrong.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bridge::Outcome;

    use super::*;

    fn dropped(direction: Direction, reason: DropReason, route: Option<&str>, at: u64) -> Crossing {
        Crossing {
            direction,
            route: route.map(Into::into),
            outcome: Outcome::Dropped(reason),
            topic: None,
            pubsub_topic: None,
            envelope: None,
            message: None,
            content: None,
            at,
            age: Duration::from_secs(1),
        }
    }

    fn picked(parameters: Parameters) -> Result<Vec<u64>, Wrong> {
        let drops = vec![
            dropped(Direction::V1ToV2, DropReason::Late, Some("a"), 1),
            dropped(Direction::V2ToV1, DropReason::BadTopic, None, 2),
            dropped(Direction::V1ToV2, DropReason::NoRoute, None, 3),
        ];
        parameters.pick(drops).map(|drops| drops.iter().map(|dropped| dropped.at).collect())
    }

    #[test]
    fn the_latest_first_and_what_was_asked_for() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(picked(Parameters::default()), Ok(vec![3, 2, 1]));
        assert_eq!(picked(Parameters { limit: Some(1), ..Parameters::default() }), Ok(vec![3]));
        assert_eq!(picked(Parameters { reason: text("late"), ..Parameters::default() }), Ok(vec![1]));
        assert_eq!(picked(Parameters { direction: text("v1_to_v2"), ..Parameters::default() }), Ok(vec![3, 1]));
        assert_eq!(picked(Parameters { route: text("none"), ..Parameters::default() }), Ok(vec![3, 2]));
        assert_eq!(picked(Parameters { route: text("b"), ..Parameters::default() }), Ok(vec![]));
    }

    #[test]
    fn wrong_parameters_are_named() {
        let text = |text: &str| Some(text.to_owned());
        let reason = Parameters { reason: text("bad luck"), ..Parameters::default() };
        assert_eq!(picked(reason), Err(Wrong::Reason("bad luck".to_owned())));
        let direction = Parameters { direction: text("east"), ..Parameters::default() };
        assert_eq!(picked(direction), Err(Wrong::Direction));
        for limit in [0, RECENT_DROPS + 1] {
            assert_eq!(picked(Parameters { limit: Some(limit), ..Parameters::default() }), Err(Wrong::Limit));
        }
    }
}
