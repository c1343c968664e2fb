//! WebSocket, plain or secure, with bounds in both directions.  Spec: RFC 6455; libp2p, addressing.
//!
//! Listening is libp2p's. Dialling is done here, for libp2p bounds nothing there: it would set aside 256 MiB at the word of one frame's
//! head, and read an answer without end to its request. A server that is dialled over `wss` must have a certificate that the public
//! authorities have signed for the name or address dialled, although Noise alone says who it is; redirects are not followed.

use std::{
    io,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use futures::{
    AsyncRead, AsyncWrite, FutureExt, Sink, TryFutureExt, TryStreamExt,
    future::{BoxFuture, Either},
    sink, stream,
    stream::{BoxStream, IntoAsyncRead},
};
use futures_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};
use libp2p::{
    Multiaddr, Transport,
    core::transport::{DialOpts, ListenerId, TransportError, TransportEvent},
    multiaddr::Protocol,
    websocket,
};
use soketto::{
    connection::{Builder, Error as FrameError},
    handshake::{Client, Error as GreetError, ServerResponse},
};

/// Longest WebSocket message from a peer, in bytes. Peers send an encrypted piece of 64 KiB at most in each; 1 MiB is the largest frame of
/// mplex.
pub(crate) const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// Longest answer to the request for WebSocket, in bytes, with what the server sends right behind it.  Deployed: as for requests in libp2p.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// Why a connection over WebSocket failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebsocketError<E: std::error::Error> {
    /// As a listener.
    #[error(transparent)]
    Listening(#[from] websocket::error::Error<E>),
    /// No connection to speak it over.
    #[error(transparent)]
    Tcp(E),
    /// No encryption; most often a certificate that no authority has signed for this name.
    #[error("TLS: {0}")]
    Tls(io::Error),
    /// No WebSocket.
    #[error("handshake: {0}")]
    Greet(#[from] GreetError),
    /// The server wants nothing of it, or wants it elsewhere.
    #[error("the server answers with status {0}")]
    Status(u16),
}

/// Listens as libp2p does, and dials within bounds.
pub(crate) struct Websocket<T>
where
    T: Transport,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    listening: websocket::Config<T>,
    dialling: T,
    tls: TlsConnector,
}

impl<T> Websocket<T>
where
    T: Transport + Send + Unpin + 'static,
    T::Error: Send + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    /// Over two transports, since each also keeps listeners. Without `certificate` there are no secure ones.
    ///
    /// # Errors
    /// When the library of TLS refuses its own defaults.
    pub(crate) fn new(
        listening: T,
        dialling: T,
        certificate: Option<websocket::tls::Config>,
    ) -> Result<Self, futures_rustls::rustls::Error> {
        let mut listening = websocket::Config::new(listening);
        listening.set_max_data_size(MAX_MESSAGE_BYTES);
        if let Some(certificate) = certificate {
            listening.set_tls_config(certificate);
        }
        let public = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Ok(Self { listening, dialling, tls: connector(public)? })
    }
}

/// TLS that trusts these authorities.
fn connector(roots: RootCertStore) -> Result<TlsConnector, futures_rustls::rustls::Error> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config).into())
}

impl<T> Transport for Websocket<T>
where
    T: Transport + Send + Unpin + 'static,
    T::Error: Send + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = Either<Socket, <websocket::Config<T> as Transport>::Output>;
    type Error = WebsocketError<T::Error>;
    type ListenerUpgrade = BoxFuture<'static, Result<Self::Output, Self::Error>>;
    type Dial = BoxFuture<'static, Result<Self::Output, Self::Error>>;

    fn listen_on(&mut self, id: ListenerId, addr: Multiaddr) -> Result<(), TransportError<Self::Error>> {
        self.listening.listen_on(id, addr).map_err(|error| error.map(WebsocketError::Listening))
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.listening.remove_listener(id)
    }

    fn dial(&mut self, addr: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<Self::Error>> {
        let Some(target) = Target::of(&addr) else { return Err(TransportError::MultiaddrNotSupported(addr)) };
        let tcp = self.dialling.dial(target.tcp.clone(), options).map_err(|error| error.map(WebsocketError::Tcp))?;
        let tls = self.tls.clone();
        let dial = async move {
            let stream = tcp.await.map_err(WebsocketError::Tcp)?;
            let stream = match &target.certified {
                Some(name) => Either::Left(tls.connect(name.clone(), stream).await.map_err(WebsocketError::Tls)?),
                None => Either::Right(stream),
            };
            greet(stream, &target).await.map(Either::Left)
        };
        Ok(dial.boxed())
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        let event = ready!(Pin::new(&mut self.listening).poll(cx));
        let upgrade = |upgrade: <websocket::Config<T> as Transport>::ListenerUpgrade| {
            upgrade.map_ok(Either::Right).map_err(WebsocketError::Listening).boxed()
        };
        Poll::Ready(event.map_upgrade(upgrade).map_err(WebsocketError::Listening))
    }
}

/// What an address asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    /// Where.
    tcp: Multiaddr,
    /// Name and port, as the request says them.
    host: String,
    path: String,
    /// For whom a certificate must be; none without TLS.
    certified: Option<ServerName<'static>>,
}

impl Target {
    /// `HOST/tcp/PORT` and `/ws`, `/wss`, `/tls/ws` or `/tls/sni/NAME/ws`, perhaps with `/p2p/ID` behind: nothing else is dialled over
    /// WebSocket.
    fn of(addr: &Multiaddr) -> Option<Self> {
        let parts: Vec<Protocol<'_>> = addr.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect();
        let [host, Protocol::Tcp(port), upper @ ..] = &parts[..] else { return None };
        let (name, certified) = match host {
            Protocol::Ip4(ip) => (ip.to_string(), Some(ServerName::from(IpAddr::V4(*ip)))),
            Protocol::Ip6(ip) => (format!("[{ip}]"), Some(ServerName::from(IpAddr::V6(*ip)))),
            Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => {
                (name.to_string(), ServerName::try_from(name.to_string()).ok())
            }
            _ => return None,
        };
        let (path, certified) = match upper {
            [Protocol::Ws(path)] => (path, None),
            [Protocol::Wss(path)] | [Protocol::Tls, Protocol::Ws(path)] => (path, Some(certified?)),
            [Protocol::Tls, Protocol::Sni(name), Protocol::Ws(path)] => {
                (path, Some(ServerName::try_from(name.to_string()).ok()?))
            }
            _ => return None,
        };
        let tcp = [host.clone(), Protocol::Tcp(*port)].into_iter().collect();
        Some(Self { tcp, host: format!("{name}:{port}"), path: path.to_string(), certified })
    }
}

/// Asks for WebSocket.
async fn greet<E, S>(stream: S, target: &Target) -> Result<Socket, WebsocketError<E>>
where
    E: std::error::Error,
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let left = Arc::new(AtomicUsize::new(MAX_ANSWER_BYTES));
    let mut client = Client::new(Limited { stream, left: Arc::clone(&left) }, &target.host, &target.path);
    match client.handshake().await? {
        ServerResponse::Accepted { .. } => {}
        ServerResponse::Redirect { status_code, .. } | ServerResponse::Rejected { status_code } => {
            return Err(WebsocketError::Status(status_code));
        }
    }
    left.store(usize::MAX, Relaxed);
    Ok(Socket::over(client.into_builder()))
}

/// A stream that ends in an error when more than is left is read.
struct Limited<S> {
    stream: S,
    left: Arc<AtomicUsize>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Limited<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let left = self.left.load(Relaxed);
        if left == 0 {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "an answer without end")));
        }
        let most = into.len().min(left);
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut into[..most]))?;
        if left != usize::MAX {
            self.left.store(left - read, Relaxed);
        }
        Poll::Ready(Ok(read))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Limited<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// What goes out.
enum Outgoing {
    Message(Vec<u8>),
    Close,
}

/// A WebSocket connection that we made, as a stream of bytes: each write is a message.
pub(crate) struct Socket {
    incoming: IntoAsyncRead<BoxStream<'static, io::Result<Vec<u8>>>>,
    outgoing: Pin<Box<dyn Sink<Outgoing, Error = io::Error> + Send>>,
    closing: bool,
}

impl Socket {
    fn over<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(mut builder: Builder<S>) -> Self {
        builder.set_max_message_size(MAX_MESSAGE_BYTES);
        builder.set_max_frame_size(MAX_MESSAGE_BYTES);
        let (sender, receiver) = builder.finish();
        let incoming = stream::try_unfold(receiver, |mut receiver| async {
            let mut message = Vec::new();
            match receiver.receive_data(&mut message).await {
                Ok(_) => Ok(Some((message, receiver))),
                Err(FrameError::Closed) => Ok(None),
                Err(error) => Err(io::Error::other(error)),
            }
        });
        let outgoing = sink::unfold(sender, |mut sender, outgoing| async {
            match outgoing {
                Outgoing::Message(mut message) => sender.send_binary_mut(&mut message).await,
                Outgoing::Close => sender.close().await,
            }
            .map_err(io::Error::other)?;
            sender.flush().await.map_err(io::Error::other)?;
            Ok(sender)
        });
        let incoming: BoxStream<'static, io::Result<Vec<u8>>> = Box::pin(incoming);
        Self { incoming: incoming.into_async_read(), outgoing: Box::pin(outgoing), closing: false }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.incoming).poll_read(cx, into)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.outgoing.as_mut().poll_ready(cx))?;
        self.outgoing.as_mut().start_send(Outgoing::Message(bytes.to_vec()))?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.as_mut().poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closing {
            ready!(self.outgoing.as_mut().poll_ready(cx))?;
            self.outgoing.as_mut().start_send(Outgoing::Close)?;
            self.closing = true;
        }
        self.outgoing.as_mut().poll_flush(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures::{AsyncReadExt, AsyncWriteExt, future::poll_fn};
    use libp2p::{
        core::{Endpoint, transport::PortUse},
        tcp,
    };
    use soketto::handshake::{Server, server::Response};

    use super::*;

    type Ours = Websocket<tcp::tokio::Transport>;

    fn ours(certificate: Option<websocket::tls::Config>) -> Ours {
        let tcp = || tcp::tokio::Transport::new(tcp::Config::default());
        Websocket::new(tcp(), tcp(), certificate).unwrap()
    }

    async fn dial(ours: &mut Ours, addr: &str) -> Result<Socket, WebsocketError<io::Error>> {
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        match ours.dial(addr.parse().unwrap(), options).unwrap().await? {
            Either::Left(socket) => Ok(socket),
            Either::Right(_) => panic!("dialled by the listener"),
        }
    }

    #[test]
    fn only_whole_addresses_are_dialled() {
        let target = |addr: &str| Target::of(&addr.parse().unwrap());
        let peer = "16Uiu2HAmPLe7Mzm8TsYUubgCAW1aJoeFScxrLj8ppHFivPo97bUZ";
        let told = |addr: &str| {
            let target = target(addr)?;
            let name = target.certified.map(|name| name.to_str().into_owned());
            Some((target.tcp.to_string(), target.host, target.path, name))
        };
        let text = |text: &str| text.to_owned();
        for (addr, tcp, host, path, name) in [
            ("/ip4/1.2.3.4/tcp/80/ws", "/ip4/1.2.3.4/tcp/80", "1.2.3.4:80", "/", None),
            ("/ip6/::1/tcp/80/wss", "/ip6/::1/tcp/80", "[::1]:80", "/", Some("::1")),
            ("/dns4/a.org/tcp/443/tls/ws", "/dns4/a.org/tcp/443", "a.org:443", "/", Some("a.org")),
            ("/dns/a.org/tcp/443/tls/sni/b.org/ws", "/dns/a.org/tcp/443", "a.org:443", "/", Some("b.org")),
            ("/dns6/a.org/tcp/1/x-parity-ws/%2Fpath", "/dns6/a.org/tcp/1", "a.org:1", "/path", None),
        ] {
            let expected = Some((text(tcp), text(host), text(path), name.map(text)));
            assert_eq!(told(addr), expected, "{addr}");
            assert_eq!(told(&format!("{addr}/p2p/{peer}")), expected, "{addr}");
        }
        for other in [
            "/ip4/1.2.3.4/tcp/80",
            "/ip4/1.2.3.4/udp/80/ws",
            "/dns4/x.org/ip4/1.2.3.4/tcp/80/ws",
            "/ip4/1.2.3.4/tcp/80/ws/p2p-circuit",
            "/ip4/1.2.3.4/tcp/80/tls",
            "/dns4/no name/tcp/80/wss",
            "/dnsaddr/a.org",
        ] {
            assert_eq!(target(other), None, "{other}");
        }
    }

    /// Starts a listener of ours that sends back what comes.
    async fn echo(mut listener: Ours, addr: &str) -> Multiaddr {
        listener.listen_on(ListenerId::next(), addr.parse().unwrap()).unwrap();
        let bound = poll_fn(|cx| Pin::new(&mut listener).poll(cx)).await.into_new_address().unwrap();
        tokio::spawn(async move {
            loop {
                let event = poll_fn(|cx| Pin::new(&mut listener).poll(cx)).await;
                let Some((upgrade, _)) = event.into_incoming() else { continue };
                let Ok(mut socket) = upgrade.await else { continue };
                let mut piece = vec![0; 64 * 1024];
                while let Ok(read @ 1..) = socket.read(&mut piece).await {
                    socket.write_all(&piece[..read]).await.unwrap();
                    socket.flush().await.unwrap();
                }
            }
        });
        bound
    }

    async fn echoes(mut socket: Socket) {
        for bytes in [1, 60_000, MAX_MESSAGE_BYTES] {
            let sent = vec![7; bytes];
            socket.write_all(&sent).await.unwrap();
            socket.flush().await.unwrap();
            let mut read = vec![0; bytes];
            socket.read_exact(&mut read).await.unwrap();
            assert!(read == sent);
        }
        socket.close().await.unwrap();
        assert_eq!(socket.read(&mut [0]).await.unwrap_or_default(), 0);
    }

    #[tokio::test]
    async fn bytes_cross_plain() {
        let addr = echo(ours(None), "/ip4/127.0.0.1/tcp/0/ws").await;
        echoes(dial(&mut ours(None), &addr.to_string()).await.unwrap()).await;
    }

    #[tokio::test]
    async fn bytes_cross_secure_if_the_certificate_is_trusted() {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let (key, der) = (made.key_pair.serialize_der(), made.cert.der());
        let (key, chain) = (websocket::tls::PrivateKey::new(key), websocket::tls::Certificate::new(der.to_vec()));
        let config = websocket::tls::Config::new(key, [chain]).unwrap();
        let addr = echo(ours(Some(config)), "/ip4/127.0.0.1/tcp/0/wss").await.to_string();
        assert!(matches!(dial(&mut ours(None), &addr).await, Err(WebsocketError::Tls(_))), "nobody has signed it");
        let mut trusting = ours(None);
        let mut roots = RootCertStore::empty();
        roots.add(der.clone()).unwrap();
        trusting.tls = connector(roots).unwrap();
        echoes(dial(&mut trusting, &addr).await.unwrap()).await;
        let named = addr.replace("/wss", "/tls/sni/example.org/ws");
        assert!(matches!(dial(&mut trusting, &named).await, Err(WebsocketError::Tls(_))), "signed for another name");
    }

    /// What a server does with a request.
    enum Answer {
        /// It accepts.
        Accept,
        /// It says something else.
        Say(&'static str),
    }

    /// Dials a server that answers and goes on with `then`, so many times, as long as that is read. What came of it, and how often it was
    /// sent.
    async fn hostile(answer: Answer, then: Vec<u8>, times: usize) -> (Result<Socket, String>, usize) {
        let mut listener = tcp::tokio::Transport::new(tcp::Config::default());
        listener.listen_on(ListenerId::next(), "/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        let bound = poll_fn(|cx| Pin::new(&mut listener).poll(cx)).await.into_new_address().unwrap();
        let serve = tokio::spawn(async move {
            let event = poll_fn(|cx| Pin::new(&mut listener).poll(cx)).await;
            let mut stream = event.into_incoming().unwrap().0.await.unwrap();
            let mut server = Server::new(&mut stream);
            let key = server.receive_request().await.unwrap().key();
            match answer {
                Answer::Accept => server.send_response(&Response::Accept { key, protocol: None }).await.unwrap(),
                Answer::Say(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
            }
            let mut sent = 0;
            while sent < times && stream.write_all(&then).await.is_ok() {
                sent += 1;
            }
            // Stays until the other side goes.
            let _ = stream.flush().await;
            let _ = stream.read(&mut [0]).await;
            sent
        });
        let result = match dial(&mut ours(None), &format!("{bound}/ws")).await {
            Ok(mut socket) => match socket.read(&mut [0]).await {
                Ok(_) => Ok(socket),
                Err(error) => Err(error.to_string()),
            },
            Err(error) => Err(error.to_string()),
        };
        if result.is_ok() {
            return (result, 0);
        }
        (result, serve.await.unwrap())
    }

    #[tokio::test]
    async fn h65_a_server_that_we_dial_is_bounded_as_well() {
        let frame = |length: u64| [&b"\x82\x7f"[..], &length.to_be_bytes()].concat();
        for length in [MAX_MESSAGE_BYTES as u64 + 1, 256 << 20, (1 << 63) - 1] {
            let error = hostile(Answer::Accept, frame(length), 1).await.0.err().unwrap();
            assert!(error.contains("max"), "{error}");
        }
        // Fragments without end.
        let fragment = [&b"\x02\x7f"[..], &100_000_u64.to_be_bytes(), &[0; 100_000]].concat();
        let next = [&b"\x00\x7f"[..], &100_000_u64.to_be_bytes(), &[0; 100_000]].concat();
        let (result, _) = hostile(Answer::Accept, [fragment, next.repeat(40)].concat(), 1).await;
        assert!(result.is_err());
        assert!(hostile(Answer::Accept, b"\x82\x01x".to_vec(), 1).await.0.is_ok(), "a message of one byte");
        // Headers without end, and one header.
        let begin = Answer::Say("HTTP/1.1 101 Switching Protocols\r\n");
        let (result, sent) = hostile(begin, b"X: y\r\n".repeat(1_000), 10_000).await;
        assert!(result.is_err() && sent < 10_000, "{sent}");
        let begin = Answer::Say("HTTP/1.1 101 Switching Protocols\r\nX: ");
        let (result, sent) = hostile(begin, vec![b'x'; 10_000], 10_000).await;
        assert!(result.err().unwrap().contains("without end") && sent < 10_000, "{sent}");
        let elsewhere = Answer::Say("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n");
        assert!(hostile(elsewhere, vec![], 1).await.0.err().unwrap().contains("302"), "redirects are not followed");
        let none = Answer::Say("HTTP/1.1 404 Not Found\r\n\r\n");
        assert!(hostile(none, vec![], 1).await.0.err().unwrap().contains("404"));
    }
}
