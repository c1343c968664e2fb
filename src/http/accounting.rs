//! `GET /legacy/v1/accounting`: what each waku/0 peer brought and was brought, epoch by epoch.
//!
//! Parameters, each optional: `from` and `to` (unix seconds; epochs that begin in between, both included), `peer` (a node id
//! of 64 hex digits, a public key of 128, or an enode URL), `limit` (rows, [`DEFAULT_LIMIT`] unless set), `after` (the `next`
//! of the page before). The oldest epoch comes first.

use std::{fmt, str::FromStr};

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use devp2p::{NodeId, enode::Enode, key::PublicKey};
use serde::{Deserialize, Serialize};

use crate::storage::accounts::{Filter, Ledger, MAX_PAGE, Row};

/// Rows of a page unless asked for more or fewer.
pub(crate) const DEFAULT_LIMIT: u32 = 1_000;

/// What may be asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    from: Option<u64>,
    to: Option<u64>,
    peer: Option<String>,
    limit: Option<u32>,
    after: Option<String>,
}

/// A wrong request; the text says which parameter.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Wrong {
    #[error("peer: give a node id of 64 hex digits, a public key of 128, or an enode URL")]
    Peer,
    #[error("limit: give a number from 1 to {MAX_PAGE}")]
    Limit,
    #[error("after: give the `next` of the page before")]
    After,
}

/// A page of accounts.
#[derive(Debug, Serialize)]
struct Page {
    accounts: Vec<AccountRow>,
    /// What to give as `after` for the next page; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A peer's account in an epoch.
#[derive(Debug, Serialize)]
struct AccountRow {
    epoch: u64,
    peer: String,
    received: Volume,
    sent: Volume,
}

#[derive(Debug, Serialize)]
struct Volume {
    envelopes: u64,
    bytes: u64,
}

/// The place of a row, as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place(u64, NodeId);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, hex::encode(self.1.as_bytes()))
    }
}

impl FromStr for Place {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let (epoch, peer) = text.split_once('-').ok_or(Wrong::After)?;
        let epoch = epoch.parse().map_err(|_| Wrong::After)?;
        Ok(Self(epoch, node_id(peer).ok_or(Wrong::After)?))
    }
}

fn node_id(hex: &str) -> Option<NodeId> {
    let mut id = [0; 32];
    hex::decode_to_slice(hex, &mut id).ok()?;
    Some(NodeId::from_bytes(id))
}

fn peer(text: &str) -> Result<NodeId, Wrong> {
    let of_key = || {
        let mut key = [0; 64];
        hex::decode_to_slice(text, &mut key).ok()?;
        Some(PublicKey::from_bytes(&key).ok()?.id())
    };
    let of_enode = || Some(text.parse::<Enode>().ok()?.key.id());
    node_id(text).or_else(of_key).or_else(of_enode).ok_or(Wrong::Peer)
}

impl Parameters {
    fn read(&self) -> Result<(Filter, u32), Wrong> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(Wrong::Limit);
        }
        let after = self.after.as_deref().map(str::parse).transpose()?;
        let filter = Filter {
            from: self.from,
            to: self.to,
            peer: self.peer.as_deref().map(peer).transpose()?,
            after: after.map(|Place(epoch, peer)| (epoch, peer)),
        };
        Ok((filter, limit))
    }
}

impl From<&Row> for AccountRow {
    fn from(row: &Row) -> Self {
        let volume = |v: waku0::accounting::Volume| Volume { envelopes: v.envelopes, bytes: v.bytes };
        Self {
            epoch: row.epoch,
            peer: hex::encode(row.peer.as_bytes()),
            received: volume(row.account.received),
            sent: volume(row.account.sent),
        }
    }
}

fn page(rows: &[Row], limit: u32) -> Page {
    let full = rows.len() == limit as usize;
    let next = rows.last().filter(|_| full).map(|row| Place(row.epoch, row.peer).to_string());
    Page { accounts: rows.iter().map(Into::into).collect(), next }
}

/// The accounts of waku/0 peers.
#[utoipa::path(get, path = "/legacy/v1/accounting", tag = "legacy", params(Parameters), responses(
    (status = 200, description = "A page", body = Object),
    (status = 400, description = "A parameter is wrong", body = Object),
    (status = 500, description = "They can't be read", body = Object)))]
pub(super) async fn accounting(
    State(ledger): State<Ledger>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Response {
    let wrong = |text: String| (StatusCode::BAD_REQUEST, Json(serde_json::json!({ "error": text }))).into_response();
    let parameters = match parameters {
        Ok(Query(parameters)) => parameters,
        Err(rejection) => return wrong(rejection.body_text()),
    };
    let (filter, limit) = match parameters.read() {
        Ok(read) => read,
        Err(error) => return wrong(error.to_string()),
    };
    match ledger.page(&filter, limit).await {
        Ok(rows) => Json(page(&rows, limit)).into_response(),
        Err(error) => {
            tracing::error!(%error, "accounts can't be read");
            let text = "the accounts can't be read at present; the log says why";
            (StatusCode::SERVICE_UNAVAILABLE, Json(serde_json::json!({ "error": text }))).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use devp2p::NodeKey;

    use super::*;

    fn parameters(peer: Option<&str>, limit: Option<u32>, after: Option<&str>) -> Parameters {
        Parameters { from: None, to: Some(9), peer: peer.map(Into::into), limit, after: after.map(Into::into) }
    }

    #[test]
    fn a_peer_is_named_by_id_key_or_enode() {
        let key = NodeKey::from_bytes(&[3; 32]).unwrap().public();
        let id = key.id();
        for text in [hex::encode(id.as_bytes()), key.to_string(), format!("enode://{key}@127.0.0.1:1")] {
            let (filter, limit) = parameters(Some(&text), None, None).read().unwrap();
            assert_eq!((filter.peer, filter.to, limit), (Some(id), Some(9), DEFAULT_LIMIT), "{text}");
        }
    }

    #[test]
    fn a_page_leads_to_the_next() {
        let row = Row { epoch: 60, peer: NodeId::from_bytes([5; 32]), account: Default::default() };
        assert_eq!(page(&[row], 2).next, None);
        let next = page(&[row], 1).next.unwrap();
        assert_eq!(parameters(None, None, Some(&next)).read().unwrap().0.after, Some((60, row.peer)));
    }

    #[test]
    fn refusals_name_the_parameter() {
        for (wrong, expected) in [
            (parameters(Some("12"), None, None), Wrong::Peer),
            (parameters(Some(&"0".repeat(128)), None, None), Wrong::Peer),
            (parameters(None, Some(0), None), Wrong::Limit),
            (parameters(None, Some(MAX_PAGE + 1), None), Wrong::Limit),
            (parameters(None, None, Some("60")), Wrong::After),
            (parameters(None, None, Some("x-00")), Wrong::After),
        ] {
            assert_eq!(wrong.read(), Err(expected));
        }
    }
}
