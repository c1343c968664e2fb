//! Mail servers, asked one after the other: what [`Client`] wants done, done over a connection to one server at a time.

use devp2p::clock::now;
use tokio::time::sleep_until;
use waku0::{
    Envelope,
    mail::{
        client::{Action, Client, Resume, Settings, Wanted},
        request::Request,
    },
};

use super::server::{AskError, Heard, Link, MailServer};

/// Said beside a server's refusal.
const NO_PASSWORD: &str = " (give its password: enode://KEY:PASSWORD@HOST:PORT; most had status-offline-inbox)";

/// What comes of it, in order.
#[derive(Debug)]
pub(crate) enum Step {
    /// An envelope that is new.
    Envelope(Envelope),
    /// A page has ended; here it goes on.
    Page(Resume),
    /// Something about a server, for people.
    Told(String),
    /// Something came.
    Heard,
    /// It is over.
    End,
}

/// A request under way, of all its pages.
#[derive(Debug)]
pub(crate) struct Conversation {
    client: Client,
    servers: Vec<MailServer>,
    link: Option<Link>,
    /// To whom there is a connection now, if that has not been told.
    reached: Option<String>,
}

impl Conversation {
    /// Begins.
    pub(crate) fn new(wanted: Wanted, settings: Settings, servers: Vec<MailServer>, resume: Option<Resume>) -> Self {
        let client = Client::new(wanted, settings, servers.len(), resume);
        Self { client, servers, link: None, reached: None }
    }

    /// Begins another request, at the server that was asked last.
    pub(crate) fn again(&mut self, wanted: Wanted, settings: Settings) {
        self.servers.rotate_left(self.client.server());
        self.client = Client::new(wanted, settings, self.servers.len(), None);
    }

    /// What was asked, and what came of it.
    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    /// Who is asked.
    pub(crate) fn servers(&self) -> &[MailServer] {
        &self.servers
    }

    /// What comes next. To be asked until it ends.
    pub(crate) async fn next(&mut self) -> Step {
        loop {
            if let Some(reached) = self.reached.take() {
                return Step::Told(reached);
            }
            match self.client.next_action() {
                Some(Action::Ask { server, request }) => match self.ask(server, &request).await {
                    Ok(name) => self.client.asked(now(), name),
                    Err(error) => {
                        self.client.lost(now(), server);
                        return Step::Told(format!("{}: {error}", self.servers[server]));
                    }
                },
                Some(Action::Deliver(envelope)) => return Step::Envelope(envelope),
                Some(Action::Page(resume)) => return Step::Page(resume),
                Some(Action::Leave { server, why }) => {
                    self.hang_up().await;
                    let hint = if self.servers[server].lacks_password(&why) { NO_PASSWORD } else { "" };
                    return Step::Told(format!("{}: {why}{hint}", self.servers[server]));
                }
                Some(Action::End) => return Step::End,
                None => {
                    if self.wait().await {
                        return Step::Heard;
                    }
                }
            }
        }
    }

    async fn ask(&mut self, server: usize, request: &Request) -> Result<[u8; 32], AskError> {
        let link = match &mut self.link {
            Some(link) => link,
            None => {
                let opened = Link::open(&self.servers[server]).await?;
                self.reached = Some(format!("asking {}", self.servers[server]));
                self.link.insert(opened)
            }
        };
        link.ask(request).await
    }

    /// Waits for the server, as long as it may take. Has a packet come?
    async fn wait(&mut self) -> bool {
        let wake_at = self.client.wake_at();
        let heard = async {
            match &mut self.link {
                Some(link) => link.next().await,
                None => std::future::pending().await,
            }
        };
        let late = async {
            match wake_at {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let server = self.client.server();
        tokio::select! {
            heard = heard => match heard {
                Heard::Packet { packet, shed } => {
                    if shed {
                        self.client.shed();
                    }
                    self.client.receive(now(), server, packet);
                    return true;
                }
                Heard::Gone => {
                    self.link = None;
                    self.client.lost(now(), server);
                }
            },
            () = late => self.client.tick(now()),
        }
        false
    }

    /// Ends the connection, if there is one.
    pub(crate) async fn hang_up(&mut self) {
        if let Some(link) = self.link.take() {
            link.close().await;
        }
    }
}
