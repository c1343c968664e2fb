//! Finding waku/0 peers: runs what was asked for, and names to the node whom it found.
//!
//! What was found once is named again every hour, in another order: the node forgets who does not answer for long, and a
//! network that was away comes back. Limits are those of the libraries, of the two queues that [`crate::assemble`] makes,
//! and of the node's own list of known nodes; whoever finds one full is left out until then.

use std::{
    future::pending,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use devp2p::{
    Enode, NodeKey,
    discv4::{self, StartError as Discv4Error},
    dnsdisc::{self, StartError as DnsError},
    enr::{self, Enr},
};
use rand::seq::SliceRandom;
use tokio::{
    net::UdpSocket,
    sync::mpsc,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use crate::keys::system_rng;

/// Between two times that all that is known is named again: as long as the node waits at most before it dials one again.
const AGAIN_EVERY: Duration = devp2p::book::LONGEST_WAIT;

/// What one source has found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Nodes heard of for the first time, or with something new about them.
    pub(crate) nodes: AtomicU64,
    /// Of these, nodes that can't be dialled: without an address, or without a TCP port.
    pub(crate) unusable: AtomicU64,
    /// Of these, nodes that came too fast to be looked at.
    pub(crate) left_out: AtomicU64,
}

/// What discovery has found, by source; `None` for one that does not run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    pub(crate) discv4: Option<Arc<Found>>,
    pub(crate) dns: Option<Arc<Found>>,
}

/// Our own side of discovery over UDP.
#[derive(Debug)]
pub(crate) struct Udp {
    /// Open since before the node started, which had to know the port.
    pub(crate) socket: UdpSocket,
    pub(crate) key: NodeKey,
    pub(crate) advertised_ip: Option<IpAddr>,
    pub(crate) bootstrap: Vec<Enode>,
}

/// Opens the socket of discovery, on the number of the devp2p port.
///
/// # Errors
/// If the port is taken or needs a right.
pub(crate) async fn bind(listen: SocketAddr) -> Result<UdpSocket, StartError> {
    Ok(discv4::bind(listen).await?)
}

/// Discovery that runs, or none.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    discv4: Option<discv4::Handle>,
    dns: Option<dnsdisc::Client>,
    sources: Sources,
    task: Option<JoinHandle<()>>,
}

/// Queues of what was found, each with its two ends.
#[derive(Debug)]
pub(crate) struct Queues {
    pub(crate) discv4: (mpsc::Sender<Enode>, mpsc::Receiver<Enode>),
    pub(crate) dns: (mpsc::Sender<Enr>, mpsc::Receiver<Enr>),
}

impl Discovery {
    /// Begins with what was asked for; `node` is told of whom it finds.
    ///
    /// # Errors
    /// If the system has no randomness, or the DNS library refuses its settings.
    pub(crate) fn start(
        udp: Option<Udp>,
        dns: Option<dnsdisc::Config>,
        node: waku0::Handle,
        queues: Queues,
    ) -> Result<Self, StartError> {
        if udp.is_none() && dns.is_none() {
            return Ok(Self::default());
        }
        let sources =
            Sources { discv4: udp.as_ref().map(|_| Arc::default()), dns: dns.as_ref().map(|_| Arc::default()) };
        let tcp = node.enode().tcp;
        let discv4 = udp.map(|udp| start_discv4(udp, tcp, queues.discv4.0)).transpose()?;
        let dns = dns.map(|config| dnsdisc::Client::start(config, queues.dns.0)).transpose()?;
        let feed = Feed { node, discv4: discv4.clone(), dns: dns.clone(), sources: sources.clone() };
        let task = tokio::spawn(feed.run(queues.discv4.1, queues.dns.1));
        Ok(Self { discv4, dns, sources, task: Some(task) })
    }

    /// What was found.
    pub(crate) fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Our record, as discovery over UDP gives it to others.
    pub(crate) fn record(&self) -> Option<&Enr> {
        self.discv4.as_ref().map(discv4::Handle::record)
    }

    /// Returns when a part that was asked for ends, which none does by itself.
    pub(crate) async fn ended(&mut self) {
        match &mut self.task {
            Some(task) => drop(task.await),
            None => pending().await,
        }
    }

    /// Stops asking and answering.
    pub(crate) async fn shutdown(self) {
        if let Some(discv4) = &self.discv4 {
            discv4.shutdown().await;
        }
        if let Some(dns) = &self.dns {
            dns.shutdown().await;
        }
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        // It holds the node, which ends with the last who does.
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Why discovery can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Over UDP.
    #[error("{0}. Another port: --devp2p-tcp-port; without discovery: no --discv4-discovery")]
    Discv4(#[from] Discv4Error),
    /// By DNS.
    #[error("{0}. Other name servers: --dns-addrs-name-server")]
    Dns(#[from] DnsError),
}

fn start_discv4(udp: Udp, tcp: u16, found: mpsc::Sender<Enode>) -> Result<discv4::Handle, Discv4Error> {
    let Udp { socket, key, advertised_ip, bootstrap } = udp;
    if bootstrap.is_empty() {
        tracing::warn!("discovery knows nowhere to begin, and waits to be found: give a --discv4-bootstrap-node");
    }
    discv4::start(socket, discv4::Config { key, advertised_ip, tcp, bootstrap }, found)
}

/// Names to the node what is found.
struct Feed {
    node: waku0::Handle,
    discv4: Option<discv4::Handle>,
    dns: Option<dnsdisc::Client>,
    sources: Sources,
}

impl Feed {
    async fn run(self, mut nodes: mpsc::Receiver<Enode>, mut records: mpsc::Receiver<Enr>) {
        let mut again = interval(AGAIN_EVERY);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                node = nodes.recv(), if self.sources.discv4.is_some() => match node {
                    Some(node) => self.found_over_udp(node),
                    None => return,
                },
                record = records.recv(), if self.sources.dns.is_some() => match record {
                    Some(record) => self.found_by_dns(&record),
                    None => return,
                },
                _ = again.tick() => self.name_again().await,
            }
        }
    }

    fn found_over_udp(&self, node: Enode) {
        let Some(found) = &self.sources.discv4 else { return };
        found.nodes.fetch_add(1, Relaxed);
        self.name(found, node);
    }

    fn found_by_dns(&self, record: &Enr) {
        let Some(found) = &self.sources.dns else { return };
        found.nodes.fetch_add(1, Relaxed);
        match enr::enode(record) {
            Some(node) => self.name(found, node),
            None => {
                tracing::debug!(record = %record.to_base64(), "listed node without address or TCP port");
                found.unusable.fetch_add(1, Relaxed);
            }
        }
    }

    fn name(&self, found: &Found, node: Enode) {
        tracing::debug!(%node, "may be dialled");
        if !self.node.suggest(node) {
            found.left_out.fetch_add(1, Relaxed);
        }
    }

    /// Whoever finds the queue full has better luck next time.
    async fn name_again(&self) {
        let mut nodes = match &self.discv4 {
            Some(discv4) => discv4.nodes().await,
            None => Vec::new(),
        };
        if let Some(dns) = &self.dns {
            nodes.extend(dns.nodes().await.iter().filter_map(enr::enode));
        }
        nodes.shuffle(&mut system_rng());
        for node in nodes {
            if !self.node.suggest(node) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use devp2p::Host;

    use super::*;

    /// More than wait to be looked at by the dialler.
    const MANY: u16 = 1000;

    async fn node() -> waku0::Handle {
        let config = waku0::run::Config {
            key: NodeKey::from_bytes(&[1; 32]).unwrap(),
            client_id: "test".to_owned(),
            listen: None,
            static_nodes: Vec::new(),
            limits: devp2p::Limits::default(),
            network: devp2p::Network::default(),
            settings: waku0::Settings::default(),
            accounts: None,
            mail: None,
        };
        waku0::run::start(config, mpsc::channel(1).0).await.unwrap().0
    }

    fn record(secret: u16, tcp: Option<u16>) -> Enr {
        let mut bytes = [2; 32];
        bytes[..2].copy_from_slice(&secret.to_be_bytes());
        let endpoint = enr::Endpoint { ip: Some([127, 0, 0, 1].into()), tcp, udp: tcp };
        enr::sign(&NodeKey::from_bytes(&bytes).unwrap(), 1, &endpoint).unwrap()
    }

    fn counts(found: &Option<Arc<Found>>) -> [u64; 3] {
        let found = found.as_ref().unwrap();
        [&found.nodes, &found.unusable, &found.left_out].map(|count| count.load(Relaxed))
    }

    #[tokio::test]
    async fn who_cannot_be_dialled_or_comes_too_fast_is_counted() {
        let sources = Sources { discv4: Some(Arc::default()), dns: Some(Arc::default()) };
        let feed = Feed { node: node().await, discv4: None, dns: None, sources: sources.clone() };
        feed.found_by_dns(&record(1, None));
        feed.found_by_dns(&record(2, Some(9)));
        assert_eq!(counts(&sources.dns), [2, 1, 0]);
        // The dialler does not run meanwhile: there is one thread, and nothing waits.
        let key = NodeKey::from_bytes(&[3; 32]).unwrap().public();
        for port in 1..=MANY {
            feed.found_over_udp(Enode { key, host: Host::Ip([127, 0, 0, 1].into()), tcp: port, udp: port });
        }
        let [nodes, unusable, left_out] = counts(&sources.discv4);
        assert_eq!((nodes, unusable), (MANY.into(), 0));
        assert!((1..nodes).contains(&left_out), "{left_out}");
    }

    #[tokio::test]
    async fn without_a_wish_nothing_runs() {
        let queues = Queues { discv4: mpsc::channel(1), dns: mpsc::channel(1) };
        let discovery = Discovery::start(None, None, node().await, queues).unwrap();
        assert!(discovery.task.is_none() && discovery.record().is_none());
        assert!(discovery.sources().discv4.is_none() && discovery.sources().dns.is_none());
        discovery.shutdown().await;
    }
}
