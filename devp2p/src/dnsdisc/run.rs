//! Asks DNS for the core: shell.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RData};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep_until, timeout};

use super::link::Link;
use super::resolve::{Event, LookupError, Resolver};
use crate::clock::now;
use crate::enr::Enr;

/// Longest wait for one answer, all servers together. Source: go-ethereum, `dnsdisc.Config.Timeout`.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// Asked when no name server is configured. Source: nwaku, `--dns-addrs-name-server`.
pub const DEFAULT_NAME_SERVERS: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1)), 53),
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(1, 0, 0, 1)), 53),
];

/// Commands waiting for the task; who finds the queue full waits.
const MAX_COMMANDS: usize = 16;

/// What is followed, and who is asked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The lists.
    pub links: Vec<Link>,
    /// Name servers, all of which may be asked; none means [`DEFAULT_NAME_SERVERS`].
    pub name_servers: Vec<SocketAddr>,
}

/// Why a client does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The DNS library refuses its configuration.
    #[error("cannot set up DNS: {0}")]
    Resolver(NetError),
}

enum Command {
    Nodes(oneshot::Sender<Vec<Enr>>),
    Stop,
}

/// Follows node lists, for those who use it. Cheap to clone; it stops with the last of its handles.
#[derive(Debug, Clone)]
pub struct Client {
    commands: mpsc::Sender<Command>,
}

impl Client {
    /// Begins to follow the lists. Records go to `found` as they come, verified, each once; when it is full they are left
    /// out, for [`Client::nodes`] still gives them. Lists that cannot be had are tried again, at growing intervals.
    ///
    /// # Errors
    /// [`StartError`] when the DNS library refuses its configuration; an unreachable server is no error.
    pub fn start(config: Config, found: mpsc::Sender<Enr>) -> Result<Self, StartError> {
        let dns = dns(&config.name_servers).map_err(StartError::Resolver)?;
        let (commands, inbox) = mpsc::channel(MAX_COMMANDS);
        tokio::spawn(run(Resolver::new(&config.links, now()), dns, found, inbox));
        Ok(Self { commands })
    }

    /// The nodes of all lists; none when the client has stopped. Safe to cancel.
    pub async fn nodes(&self) -> Vec<Enr> {
        let (answer, nodes) = oneshot::channel();
        match self.commands.send(Command::Nodes(answer)).await {
            Ok(()) => nodes.await.unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }

    /// Stops the client, for all its handles.
    pub async fn shutdown(&self) {
        // Fails only when it has stopped.
        let _ = self.commands.send(Command::Stop).await;
    }
}

fn dns(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let servers = if servers.is_empty() { &DEFAULT_NAME_SERVERS } else { servers };
    let server = |addr: &SocketAddr| {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
            connection.port = addr.port();
            connection
        });
        NameServerConfig::new(addr.ip(), true, connections.into())
    };
    let config = ResolverConfig::from_parts(None, Vec::new(), servers.iter().map(server).collect());
    let mut options = ResolverOpts::default();
    options.timeout = QUERY_TIMEOUT;
    options.attempts = 1;
    // The core remembers what it knows; a root must be fresh.
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    // Room for records over 512 bytes without TCP.
    options.edns0 = true;
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options).build()
}

async fn run(mut lists: Resolver, dns: TokioResolver, found: mpsc::Sender<Enr>, mut inbox: mpsc::Receiver<Command>) {
    loop {
        let query = lists.next_query(now());
        while let Some(event) = lists.next_event() {
            tell(event, &found);
        }
        let wake_at = lists.wake_at();
        let answer = async {
            match (query, wake_at) {
                (Some(name), _) => Some(ask(&dns, &name).await),
                (None, Some(at)) => {
                    sleep_until(at.into()).await;
                    None
                }
                (None, None) => std::future::pending().await,
            }
        };
        tokio::pin!(answer);
        let answered = loop {
            tokio::select! {
                answered = &mut answer => break answered,
                command = inbox.recv() => match command {
                    Some(Command::Nodes(to)) => drop(to.send(lists.nodes())),
                    Some(Command::Stop) | None => return,
                },
            }
        };
        if let Some(answer) = answered {
            lists.answer(now(), answer);
        }
    }
}

fn tell(event: Event, found: &mpsc::Sender<Enr>) {
    match event {
        // Full or closed: the list still has it.
        Event::Node(record) => drop(found.try_send(record)),
        Event::Walked { link, seq, nodes, complete } => {
            tracing::debug!(domain = link.domain(), seq, nodes, complete, "node list read");
        }
        Event::Refused { name, trouble } => tracing::debug!(name, %trouble, "node list"),
    }
}

/// The TXT records of a name, the strings of each joined.
async fn ask(dns: &TokioResolver, name: &str) -> Result<Vec<Vec<u8>>, LookupError> {
    // With a dot at its end it is not tried below other domains. As ASCII, capitals stay: servers need not mind, but some do.
    let name = Name::from_ascii(format!("{name}.")).map_err(|_| LookupError::Missing)?;
    let lookup = timeout(QUERY_TIMEOUT, dns.txt_lookup(name)).await;
    let lookup = lookup.map_err(|_| LookupError::Timeout)?.map_err(|error| match error {
        NetError::Timeout => LookupError::Timeout,
        NetError::Dns(DnsError::NoRecordsFound(_)) => LookupError::Missing,
        _ => LookupError::Failed,
    })?;
    let text = |data: &RData| match data {
        RData::TXT(txt) => Some(txt.txt_data.concat()),
        _ => None,
    };
    Ok(lookup.answers().iter().filter_map(|record| text(&record.data)).collect())
}
