//! Flags about history for waku/0 clients, checked.

use std::time::Duration;

use archive::Retention;
use waku0::{Pow, limits::RateLimit, mail::server::Settings};

use super::{ConfigError, archive::Archive, pow};
use crate::cli::{MailArgs, MailStoreArgs};

/// Seconds in a day, the unit of retention.
const DAY_SECS: u64 = 24 * 60 * 60;

/// How history is served.
#[derive(Clone, PartialEq)]
pub struct Mail {
    /// The password of requests; `None` for none.
    pub password: Option<String>,
    /// How long a peer waits between two requests.
    pub interval: Duration,
    /// Bytes of answers to one peer in a second; 0 is no limit.
    pub peer_bytes_per_sec: u64,
    /// Bytes of answers to one address in a second; 0 is no limit.
    pub address_bytes_per_sec: u64,
    /// The newest first, or the oldest?
    pub newest_first: bool,
    /// The least work of a request.
    pub min_pow: Pow,
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail")
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("interval", &self.interval)
            .field("peer_bytes_per_sec", &self.peer_bytes_per_sec)
            .field("address_bytes_per_sec", &self.address_bytes_per_sec)
            .field("newest_first", &self.newest_first)
            .field("min_pow", &self.min_pow)
            .finish()
    }
}

/// Reads the flags.
pub(super) fn mail(args: &MailArgs) -> Result<Mail, ConfigError> {
    let defaults = Settings::default();
    let (mut peer, mut address) = (defaults.peer_bytes_per_sec, defaults.address_bytes_per_sec);
    for limit in &args.mail_byte_limit {
        match limit {
            RateLimit::None => (peer, address) = (0, 0),
            RateLimit::PeerBytes(bytes) => peer = *bytes,
            RateLimit::IpBytes(bytes) => address = *bytes,
            RateLimit::PeerPackets(_) | RateLimit::IpPackets(_) | RateLimit::Topic(_) => {
                return Err(ConfigError::MailByteLimit);
            }
        }
    }
    Ok(Mail {
        password: Some(args.mail_password.clone()).filter(|password| !password.is_empty()),
        interval: Duration::from_secs(args.mail_rate_limit),
        peer_bytes_per_sec: peer,
        address_bytes_per_sec: address,
        newest_first: args.mail_order == "newest-first",
        min_pow: pow("mail-pow", args.mail_pow)?,
    })
}

/// Reads the flags of what a mailserver keeps.
pub(super) fn store(args: &MailStoreArgs) -> Result<Archive, ConfigError> {
    let place = super::archive::place_of(args.archive_url.as_deref(), args.archive_max_connections)?;
    let max_age_secs = Some(args.mail_retention.saturating_mul(DAY_SECS)).filter(|secs| *secs > 0);
    Ok(Archive { place, retention: Retention { max_age_secs, ..Retention::default() } })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::config::archive::Place;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        mail: MailArgs,
        #[command(flatten)]
        store: MailStoreArgs,
    }

    fn read(flags: &[&str]) -> Result<(Mail, Archive), ConfigError> {
        let flags = Flags::try_parse_from(["x"].iter().chain(flags)).unwrap();
        Ok((mail(&flags.mail)?, store(&flags.store)?))
    }

    #[test]
    fn defaults_are_those_of_statusd() {
        let (mail, store) = read(&[]).unwrap();
        assert_eq!(mail.password.as_deref(), Some("status-offline-inbox"));
        assert_eq!((mail.interval, mail.newest_first, mail.min_pow), (Duration::ZERO, false, Pow::ZERO));
        assert_eq!((mail.peer_bytes_per_sec, mail.address_bytes_per_sec), (16 << 20, 64 << 20));
        assert_eq!((store.place, store.retention.max_age_secs), (Place::Sqlite(None), Some(30 * 86_400)));
        assert!(!format!("{mail:?}").contains("status-offline-inbox"));
    }

    #[test]
    fn every_flag_has_its_place() {
        let (mail, store) = read(&[
            "--mail-password=",
            "--mail-rate-limit=5",
            "--mail-byte-limit=none",
            "--mail-byte-limit=ip:1MiB/s",
            "--mail-order=newest-first",
            "--mail-pow=0.5",
            "--mail-retention=0",
            "--archive-url=postgres://u:p@h/d",
        ])
        .unwrap();
        assert_eq!((mail.password, mail.interval, mail.newest_first), (None, Duration::from_secs(5), true));
        assert_eq!((mail.peer_bytes_per_sec, mail.address_bytes_per_sec), (0, 1 << 20));
        assert_eq!((mail.min_pow.value(), store.retention.max_age_secs), (0.5, None));
        assert!(matches!(store.place, Place::Postgres { .. }));
        assert!(matches!(read(&["--mail-byte-limit=peer:5/s"]), Err(ConfigError::MailByteLimit)));
        assert!(matches!(read(&["--archive-url=x"]), Err(ConfigError::ArchiveUrl(_))));
    }
}
