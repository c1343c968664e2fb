//! The room of the mailserver: what serves history beside a waku/0 node.

use devp2p::NodeKey;
use tokio::{sync::mpsc, task::JoinHandle};
use waku0::{
    handle::{MailRequest, Mailroom},
    mail::server::Settings,
    payload::{Key, SymKey},
};

use crate::{
    config::mail::Mail,
    mail::{ENVELOPES, Mailserver, REQUESTS},
    storage::archive::History,
};

/// What a node hands over, and who has not started yet.
#[derive(Debug)]
pub(super) struct Inbox {
    requests: mpsc::Receiver<MailRequest>,
    envelopes: Option<mpsc::Receiver<std::sync::Arc<waku0::Envelope>>>,
}

/// The channels between a node and its mailserver. A bridge archives what crosses by itself, so `archives` is false there.
pub(super) fn channels(archives: bool) -> (Mailroom, Inbox) {
    let (requests, asked) = mpsc::channel(REQUESTS);
    let (envelopes, kept) = archives.then(|| mpsc::channel(ENVELOPES)).unzip();
    (Mailroom { requests, envelopes }, Inbox { requests: asked, envelopes: kept })
}

/// A running mailserver.
#[derive(Debug)]
pub(super) struct MailRoom {
    pub(super) server: Mailserver,
    /// The password, for people.
    pub(super) password: Option<String>,
}

impl MailRoom {
    /// Starts it over an archive.
    pub(super) fn start(mail: Mail, history: History, key: NodeKey, node: waku0::Handle, inbox: Inbox) -> Self {
        let password = mail.password.as_deref().map(SymKey::from_password);
        let settings = Settings {
            keys: [Key::Private(key)].into_iter().chain(password.map(Key::Symmetric)).collect(),
            min_pow: mail.min_pow,
            newest_first: mail.newest_first,
            interval: mail.interval,
            peer_bytes_per_sec: mail.peer_bytes_per_sec,
            address_bytes_per_sec: mail.address_bytes_per_sec,
            ..Settings::default()
        };
        let server = Mailserver::start(settings, history, node, inbox.requests, inbox.envelopes);
        Self { server, password: mail.password }
    }

    /// Returns the name of what ends by itself, which it should not.
    pub(super) async fn failed(&mut self) -> &'static str {
        tokio::select! {
            _ = &mut self.server.server => "the mailserver",
            () = ended(&mut self.server.archiver) => "what hands envelopes to the archive",
        }
    }

    /// Waits until all that was handed in is written; the node has stopped.
    pub(super) async fn shutdown(self) {
        let Mailserver { server, archiver, .. } = self.server;
        let _ = server.await;
        if let Some(archiver) = archiver {
            let _ = archiver.await;
        }
    }
}

/// The end of a task; never, where there is none.
async fn ended(task: &mut Option<JoinHandle<()>>) {
    match task {
        // Why it ended is in the log.
        Some(task) => drop(task.await),
        None => std::future::pending().await,
    }
}
