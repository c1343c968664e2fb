//! History: 13/WAKU2-STORE in both of its versions, both roles. All but [`serve`] and [`ask`] is pure; where messages are kept is behind [`History`].
//!
//! | module | what |
//! |---|---|
//! | [`query`] | what is asked, checked, and the page that answers it |
//! | [`wire`] | `/vac/waku/store-query/3.0.0`: request, response, statuses |
//! | [`legacy`] | `/vac/waku/store/2.0.0-beta4`: the same, its cursors and its digest |
//! | [`server`] | from request to query, from page to response |
//! | [`serve`] | the shell of that: [`crate::service::Answer`] |
//! | [`client`] | page after page from another node, over either protocol |
//! | [`ask`] | the shell of that |
//! | [`resume`] | which times are to be asked for after an absence |
//!
//! Messages stand in one order, by time and then by message hash, and a page is ascending from whichever end it was asked for.
//! Limits: [`query::MAX_PAGE`] messages and [`server::MAX_PAGE_BYTES`] a page, [`query::MAX_CONTENT_TOPICS`] topics and
//! [`query::MAX_HASHES`] hashes a query; bytes and times of requests and responses are [`crate::service`]'s.

pub mod ask;
pub mod client;
pub mod legacy;
pub mod query;
pub mod resume;
pub mod serve;
pub mod server;
pub mod wire;

pub use query::{Cursor, Entry, Failure, History, Page, Query, QueryError, Selection};
