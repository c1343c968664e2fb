//! Transports of others: what a peer speaks that offers one muxer alone, over one of the ways to reach a node.

use libp2p::{
    Multiaddr, PeerId, Transport,
    core::{muxing::StreamMuxerBox, transport::Boxed, upgrade::Version},
    identity::Keypair,
    noise, tcp, websocket, yamux,
};

#[derive(Debug, Clone, Copy)]
pub enum Muxer {
    Yamux,
    Mplex,
}

/// How to reach a node.
#[derive(Debug, Clone)]
pub enum Carrier {
    Tcp,
    Ws,
    /// Trusting this certificate.
    Wss(websocket::tls::Certificate),
}

impl Carrier {
    pub fn transport(&self, muxer: Muxer, key: &Keypair) -> Boxed<(PeerId, StreamMuxerBox)> {
        let tcp = tcp::tokio::Transport::new(tcp::Config::default());
        match self {
            Self::Tcp => finish(tcp, muxer, key),
            Self::Ws => finish(websocket::Config::new(tcp), muxer, key),
            Self::Wss(certificate) => {
                let mut websocket = websocket::Config::new(tcp);
                let mut tls = websocket::tls::Config::builder();
                tls.add_trust(certificate).unwrap();
                websocket.set_tls_config(tls.finish());
                finish(websocket, muxer, key)
            }
        }
    }

    /// Is this the address to use?
    pub fn takes(&self, addr: &Multiaddr) -> bool {
        let text = addr.to_string();
        match self {
            Self::Tcp => !text.contains("/ws"),
            Self::Ws => text.contains("/ws/") && !text.contains("/tls/"),
            Self::Wss(_) => text.contains("/wss/") || text.contains("/tls/ws/"),
        }
    }
}

fn finish<T>(carrier: T, muxer: Muxer, key: &Keypair) -> Boxed<(PeerId, StreamMuxerBox)>
where
    T: Transport + Send + Unpin + 'static,
    T::Output: futures::AsyncRead + futures::AsyncWrite + Send + Unpin + 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
{
    let encrypted = carrier.upgrade(Version::V1).authenticate(noise::Config::new(key).unwrap());
    match muxer {
        Muxer::Yamux => encrypted.multiplex(yamux::Config::default()).boxed(),
        Muxer::Mplex => encrypted.multiplex(libp2p_mplex::Config::new()).boxed(),
    }
}
