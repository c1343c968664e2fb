//! History that a bridge missed, fetched from the archives of others into its own, from both networks.
//!
//! What is missing stands in [`books`]: since when, why, and how far it is. Envelopes are asked of mail servers ([`mail`]), messages of
//! store nodes ([`crate::store::resume`]); both are kept as history, unproven, and nothing of it is relayed to either side. What is here
//! already, whichever way it came, is known again by its fingerprint ([`keep`]).
//!
//! | module | what |
//! |---|---|
//! | [`books`] | what is missing, on disk every few seconds |
//! | [`mail`] | mail servers are asked, an hour after the other |
//! | [`keep`] | envelopes of others into the archive |
//!
//! Limits: one question to each network at a time; those of [`bridge::backfill`] for what is remembered.

pub mod books;
pub mod keep;
pub mod mail;
