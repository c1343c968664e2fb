//! Bytes that no honest peer sends, on each layer below the protocols. Each ends its own connection, and the node goes on.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, future::join_all};
use libp2p::{
    Multiaddr, PeerId, Transport,
    core::{
        Endpoint, UpgradeInfo,
        muxing::{StreamMuxer, StreamMuxerEvent},
        transport::{DialOpts, PortUse},
        upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, Version},
    },
    gossipsub::MessageAuthenticity,
    identity::Keypair,
    noise, tcp,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use waku2::{ClusterId, Config, Limits, metadata::Metadata};

use crate::{
    node::{Node, config, soon},
    stranger::Stranger,
};

/// What an attacker may take over a handshake here.
const HANDSHAKE: Duration = Duration::from_secs(2);

/// A node on TCP and WebSocket.
pub async fn node() -> Node {
    let listen = ["", "/ws"].map(|behind| format!("/ip4/127.0.0.1/tcp/0{behind}").parse().unwrap());
    let limits = Limits { handshake: HANDSHAKE, ..Limits::default() };
    Node::start(Config { listen: listen.into(), limits, ..config(vec![]) }).await
}

/// An honest peer still gets in.
pub async fn goes_on(node: &mut Node) {
    let metadata = Metadata { cluster: Some(ClusterId(1)), shards: vec![1] };
    let mut stranger = Stranger::new(MessageAuthenticity::Anonymous, Some(metadata));
    stranger.dial(node.addr());
    let peer = *stranger.swarm.local_peer_id();
    stranger.until(node.meets(peer)).await;
}

pub async fn connect(addr: &Multiaddr) -> TcpStream {
    let port = addr.to_string().split('/').nth(4).unwrap().to_owned();
    TcpStream::connect(format!("127.0.0.1:{port}")).await.unwrap()
}

/// Sends, as far as it is taken, and reads until the node closes: what it said.
pub async fn ended(stream: TcpStream, bytes: &[u8]) -> Vec<u8> {
    let (mut reader, mut writer) = stream.into_split();
    let read = async {
        let mut said = Vec::new();
        // A reset is a close as well.
        let _ = reader.read_to_end(&mut said).await;
        said
    };
    let write = async {
        let _ = writer.write_all(bytes).await;
    };
    soon("the end of a connection", futures::future::join(read, write)).await.0
}

/// A line of multistream: its length and its bytes.
pub fn line(text: &[u8]) -> Vec<u8> {
    let mut line = Vec::new();
    prost::encode_length_delimiter(text.len() + 1, &mut line).unwrap();
    [&line, text, b"\n"].concat()
}

pub fn hello() -> Vec<u8> {
    line(b"/multistream/1.0.0")
}

#[tokio::test]
async fn h63_noise_garbage_ends_the_connection() {
    let mut node = node().await;
    let chosen = [hello(), line(b"/noise")].concat();
    for garbage in [
        // A first message that is too short for a key, one that is a key and no more bytes than it says, and no message at all.
        [&[0, 3][..], b"abc"].concat(),
        [&[0, 32][..], &[0xff; 32]].concat(),
        vec![0, 0],
        [&[0xff, 0xff][..], &[7; 0xffff]].concat(),
    ] {
        // A first message of 32 bytes is a key: the answer comes, and garbage behind it is the message that should hold ours.
        let bytes = [&chosen[..], &garbage, &[0, 64], &[9; 64]].concat();
        ended(connect(&node.addr()).await, &bytes).await;
    }
    goes_on(&mut node).await;
}

#[tokio::test]
async fn h64_lines_that_are_none_end_the_connection() {
    let mut node = node().await;
    let mut megabyte = Vec::new();
    prost::encode_length_delimiter(1 << 20, &mut megabyte).unwrap();
    megabyte.resize(1 << 20, b'x');
    for bytes in [
        [hello(), megabyte].concat(),
        [hello(), vec![0; 1_000]].concat(),
        line(b"/multistream/2.0.0"),
        vec![0xff; 64],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ] {
        ended(connect(&node.addr()).await, &bytes).await;
    }
    goes_on(&mut node).await;
}

#[tokio::test]
async fn h64_proposals_without_end_end_with_the_handshakes_time() {
    let mut node = node().await;
    let (mut reader, mut writer) = connect(&node.addr()).await.into_split();
    writer.write_all(&[hello(), line(b"ls")].concat()).await.unwrap();
    let propose = async { while writer.write_all(&line(b"/tls/1.0.0").repeat(100)).await.is_ok() {} };
    let mut answers = Vec::new();
    let read = async { reader.read_to_end(&mut answers).await };
    soon("the end of a connection", async {
        tokio::select! { _ = propose => {}, _ = read => {} }
    })
    .await;
    goes_on(&mut node).await;
}

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

#[tokio::test]
async fn h65_requests_that_are_none_end_the_connection() {
    let mut node = node().await;
    let ws = node.handle.addresses()[1].clone();
    let long = format!("GET / HTTP/1.1\r\nHost: {}", "a".repeat(10 << 20));
    let many: String = (0..100_000).map(|n| format!("X-{n}: 1\r\n")).collect();
    let requests = [
        long,
        format!("{UPGRADE}{many}\r\n"),
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        "\0".repeat(100_000),
        "POST / HTTP/1.0\r\n\r\n".to_owned(),
    ];
    for said in join_all(requests.iter().map(async |request| ended(connect(&ws).await, request.as_bytes()).await)).await
    {
        assert!(!said.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&said));
    }
    goes_on(&mut node).await;
}

#[tokio::test]
async fn h65_a_request_that_trickles_ends_with_the_handshakes_time() {
    let mut node = node().await;
    let ws = node.handle.addresses()[1].clone();
    // It begins and never goes on: the time runs for the whole of it, so that further bytes would make no difference.
    let said = ended(connect(&ws).await, &UPGRADE.as_bytes()[..30]).await;
    assert_eq!(said, b"");
    goes_on(&mut node).await;
}

/// The head of a frame from a client, with a mask of zeros.
fn frame(first: u8, length: u64) -> Vec<u8> {
    let mut head = vec![first, 0x80 | 127];
    head.extend(length.to_be_bytes());
    head.extend([0; 4]);
    head
}

#[tokio::test]
async fn h65_frames_beyond_all_bounds_end_the_connection() {
    let mut node = node().await;
    let ws = node.handle.addresses()[1].clone();
    let request = format!("{UPGRADE}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
    let small = |first: u8| [first, 0x80, 0, 0, 0, 0];
    let attacks = [
        frame(0x82, 1 << 63),
        frame(0x82, (1 << 63) - 1),
        frame(0x82, (1 << 20) + 1),
        // A fragment, and a million empty ones behind it, that never end.
        [small(0x02).to_vec(), small(0x00).repeat(1_000_000)].concat(),
        small(0x89).repeat(100_000),
        // Compressed, which was not agreed on; and not masked, as a client must.
        small(0xc2).to_vec(),
        vec![0x82, 0x01, 0xff],
    ];
    let attack = async |frames: &Vec<u8>| ended(connect(&ws).await, &[request.as_bytes(), frames].concat()).await;
    for said in join_all(attacks.iter().map(attack)).await {
        let said = String::from_utf8_lossy(&said).to_lowercase();
        assert!(!said.contains("deflate"), "no compression is agreed on: {said}");
    }
    goes_on(&mut node).await;
}

/// A muxer that is the bare stream, to write frames by hand.
struct Bare<C>(C);

impl<C> StreamMuxer for Bare<C> {
    type Substream = futures::io::Cursor<Vec<u8>>;
    type Error = std::io::Error;

    fn poll_inbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<Self::Substream, Self::Error>> {
        Poll::Pending
    }

    fn poll_outbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<Self::Substream, Self::Error>> {
        Poll::Pending
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        Poll::Pending
    }
}

/// Chooses a muxer by its name, and hands out the stream.
#[derive(Clone, Copy)]
struct Choose(&'static str);

impl UpgradeInfo for Choose {
    type Info = &'static str;
    type InfoIter = std::iter::Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once(self.0)
    }
}

impl<C> OutboundConnectionUpgrade<C> for Choose {
    type Output = Bare<C>;
    type Error = Infallible;
    type Future = Ready<Result<Bare<C>, Infallible>>;

    fn upgrade_outbound(self, socket: C, _: Self::Info) -> Self::Future {
        ready(Ok(Bare(socket)))
    }
}

impl<C> InboundConnectionUpgrade<C> for Choose {
    type Output = Bare<C>;
    type Error = Infallible;
    type Future = Ready<Result<Bare<C>, Infallible>>;

    fn upgrade_inbound(self, socket: C, _: Self::Info) -> Self::Future {
        ready(Ok(Bare(socket)))
    }
}

/// Goes through the handshake, and chooses a muxer.
async fn chosen(node: &Node, muxer: &'static str) -> Bare<impl AsyncRead + AsyncWrite + Unpin + use<>> {
    let key = Keypair::generate_secp256k1();
    let mut transport = tcp::tokio::Transport::new(tcp::Config::default())
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(&key).unwrap())
        .multiplex(Choose(muxer));
    let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
    let addr = node.addr().iter().take(2).collect();
    let (_, stream): (PeerId, _) = soon("a handshake", transport.dial(addr, options).unwrap()).await.unwrap();
    stream
}

/// Sends these bytes where frames of the muxer are expected, and waits until the node closes.
async fn muxed(node: &Node, muxer: &'static str, bytes: Vec<u8>) {
    let (mut reader, mut writer) = chosen(node, muxer).await.0.split();
    let write = async {
        let _ = writer.write_all(&bytes).await;
        let _ = writer.flush().await;
    };
    let read = async {
        let mut piece = [0; 4_096];
        while !matches!(reader.read(&mut piece).await, Ok(0) | Err(_)) {}
    };
    soon("the end of a connection", futures::future::join(write, read)).await;
}

/// The head of a yamux frame.  Spec: yamux, "Framing".
fn yamux(kind: u8, flags: u16, stream: u32, length: u32) -> Vec<u8> {
    let mut head = vec![0, kind];
    head.extend(flags.to_be_bytes());
    head.extend(stream.to_be_bytes());
    head.extend(length.to_be_bytes());
    head
}

const DATA: u8 = 0;
const WINDOW: u8 = 1;
const SYN: u16 = 1;
/// Bytes that a stream may send before it is allowed more.
const FIRST_WINDOW: u32 = 256 * 1024;

#[tokio::test]
async fn h59_a_yamux_window_that_overflows_ends_the_connection() {
    let mut node = node().await;
    let frames = [yamux(WINDOW, SYN, 1, u32::MAX), yamux(WINDOW, 0, 1, u32::MAX)].concat();
    muxed(&node, "/yamux/1.0.0", frames).await;
    goes_on(&mut node).await;
}

#[tokio::test]
async fn h60_a_first_yamux_frame_beyond_its_window_ends_the_connection() {
    let mut node = node().await;
    let mut frames = yamux(DATA, SYN, 1, FIRST_WINDOW + 1);
    frames.resize(frames.len() + FIRST_WINDOW as usize + 1, 0);
    muxed(&node, "/yamux/1.0.0", frames).await;
    for garbage in [yamux(9, 0, 1, 0), yamux(DATA, SYN, 1, u32::MAX), vec![0xff; 100]] {
        muxed(&node, "/yamux/1.0.0", garbage).await;
    }
    goes_on(&mut node).await;
}

#[tokio::test]
async fn yamux_streams_without_end_end_the_connection() {
    let mut node = node().await;
    let streams = (0..10_000).flat_map(|n| yamux(DATA, SYN, 2 * n + 1, 0)).collect();
    muxed(&node, "/yamux/1.0.0", streams).await;
    goes_on(&mut node).await;
}

/// A frame of mplex.  Spec: mplex, "Message format".
fn mplex(stream: u64, flag: u64, data: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    prost::encode_length_delimiter(usize::try_from(stream << 3 | flag).unwrap(), &mut frame).unwrap();
    prost::encode_length_delimiter(data.len(), &mut frame).unwrap();
    frame.extend(data);
    frame
}

const NEW_STREAM: u64 = 0;
const MESSAGE: u64 = 2;
const RESET: u64 = 6;

#[tokio::test]
async fn h61_mplex_streams_without_end_end_the_connection() {
    let mut node = node().await;
    let streams: Vec<u8> = (0..100_000).flat_map(|id| mplex(id, NEW_STREAM, b"")).collect();
    muxed(&node, "/mplex/6.7.0", streams).await;
    goes_on(&mut node).await;
}

#[tokio::test]
async fn h61_mplex_frames_beyond_a_mebibyte_end_the_connection() {
    let mut node = node().await;
    let frames = [mplex(0, NEW_STREAM, b""), mplex(0, MESSAGE, &vec![0; (1 << 20) + 1])].concat();
    muxed(&node, "/mplex/6.7.0", frames).await;
    muxed(&node, "/mplex/6.7.0", vec![0xff; 100]).await;
    let twice = mplex(0, NEW_STREAM, b"").repeat(2);
    muxed(&node, "/mplex/6.7.0", twice).await;
    goes_on(&mut node).await;
}

#[tokio::test]
async fn h61_a_storm_of_resets_is_survived() {
    let mut node = node().await;
    let storm: Vec<u8> = (0..100_000)
        .flat_map(|id| [mplex(id, NEW_STREAM, b"name"), mplex(id, MESSAGE, &hello()), mplex(id, RESET, b"")].concat())
        .collect();
    // What is no frame comes last and ends the connection: all of the storm has been read then.
    muxed(&node, "/mplex/6.7.0", [storm, vec![0xff; 20]].concat()).await;
    goes_on(&mut node).await;
}

#[tokio::test]
async fn h61_bytes_behind_what_is_answered_are_read_by_nobody_and_forgotten() {
    let mut node = node().await;
    // The node answers a question of metadata and reads no further.
    let question = [hello(), line(b"/vac/waku/metadata/1.0.0"), vec![2, 0x08, 0x01]].concat();
    let mut frames = Vec::new();
    for id in 0..100 {
        frames.extend(mplex(id, NEW_STREAM, b""));
        frames.extend(mplex(id, MESSAGE, &question));
    }
    for _ in 0..16 {
        frames.extend((0..100).flat_map(|id| mplex(id, MESSAGE, &[0; 10_000])));
    }
    muxed(&node, "/mplex/6.7.0", [frames, vec![0xff; 20]].concat()).await;
    goes_on(&mut node).await;
}
