//! Two nodes over real sockets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{net::Ipv4Addr, sync::atomic::Ordering::Relaxed, time::Duration};

use devp2p::{Enode, Limits, Network, NodeKey, clock::now};
use rand::{SeedableRng, rngs::StdRng};
use tokio::{
    sync::mpsc::{self, Receiver},
    time::timeout,
};
use waku0::{
    Event, Handle, Pow, Settings, Topic, Unsealed,
    confirm::Outcome,
    node::PostError,
    run::{self, Config},
};

/// After this the test has failed; it takes a fraction of a second.
const PATIENCE: Duration = Duration::from_secs(20);

fn config(seed: u64, static_nodes: Vec<Enode>) -> Config {
    Config {
        key: NodeKey::generate(&mut StdRng::seed_from_u64(seed)),
        client_id: format!("test/{seed}"),
        listen: Some((Ipv4Addr::LOCALHOST, 0).into()),
        static_nodes,
        limits: Limits::default(),
        network: Network::default(),
        settings: Settings { min_pow: Pow::new(0.001).unwrap(), ..Settings::default() },
        accounts: None,
        mail: None,
    }
}

async fn start(seed: u64, static_nodes: Vec<Enode>) -> (Handle, Receiver<Event>, tokio::task::JoinHandle<()>) {
    let (events, received) = mpsc::channel(64);
    let (handle, task) = run::start(config(seed, static_nodes), events).await.unwrap();
    (handle, received, task)
}

async fn next(events: &mut Receiver<Event>) -> Event {
    events.recv().await.expect("the node runs")
}

/// An envelope sent now, with enough work.
fn mined(data: &[u8]) -> waku0::Envelope {
    let expiry = u32::try_from(now().unix_secs()).unwrap() + 30;
    let unsealed = Unsealed::new(expiry, 30, Topic(*b"chat"), data.to_vec().into()).unwrap();
    // Seconds pass and clocks differ: one bit more than exactly enough.
    let bits = unsealed.required_bits(Pow::new(0.001).unwrap()) + 1;
    let nonce = unsealed.search(0, 0, 1 << 24, bits).expect("a nonce among 16 million");
    unsealed.seal(nonce)
}

/// A confirms what B posts, and B goes by what A changes.
async fn follows_and_changes(a: &Handle, b: &Handle, at_a: &mut Receiver<Event>, at_b: &mut Receiver<Event>) {
    a.set_confirmations(true).await;
    a.set_min_pow(Pow::new(0.0005).unwrap()).await;
    let peer = loop {
        let peer = b.peers().await.remove(0);
        let options = peer.options.as_ref().unwrap();
        if options.confirmations && options.min_pow.value() == 0.0005 {
            break peer;
        }
        tokio::task::yield_now().await;
    };
    assert!(b.trust(peer.conn, true).await);
    assert!(!b.trust(devp2p::ConnId(u64::MAX), true).await);
    let (posted, watch) = b.post_followed(mined(b"confirmed")).await.unwrap();
    assert_eq!(watch.outcome().await, Outcome::Acknowledged { by: peer.key.id() });
    assert!(matches!(next(at_a).await, Event::Envelope { envelope, .. } if envelope.hash() == posted.hash));
    assert!(matches!(next(at_b).await, Event::PostEnded { hash, .. } if hash == posted.hash));
}

#[tokio::test]
async fn envelopes_cross_between_two_nodes() {
    timeout(PATIENCE, async {
        let (a, mut at_a, task_a) = start(1, vec![]).await;
        let (b, mut at_b, task_b) = start(2, vec![a.enode().clone()]).await;
        assert!(matches!(next(&mut at_a).await, Event::PeerRunning { .. }));
        assert!(matches!(next(&mut at_b).await, Event::PeerRunning { .. }));

        let peers = a.peers().await;
        assert_eq!((peers.len(), peers[0].client_id.as_str(), peers[0].inbound), (1, "test/2", true));
        assert_eq!(peers[0].options.as_ref().unwrap().min_pow.value(), 0.001);

        let (to_b, to_a) = (mined(b"to b"), mined(b"to a"));
        assert_eq!(a.post(to_b.clone()).await.unwrap().sent_to, 1);
        match next(&mut at_b).await {
            Event::Envelope { envelope, .. } => assert_eq!(envelope.raw(), to_b.raw()),
            other => panic!("{other:?}"),
        }
        b.post(to_a.clone()).await.unwrap();
        match next(&mut at_a).await {
            Event::Envelope { envelope, .. } => assert_eq!(envelope.data().as_ref(), b"to a"),
            other => panic!("{other:?}"),
        }
        let told = a.peers().await.remove(0);
        let account = told.traffic.account;
        assert_eq!((account.received.envelopes, account.sent.envelopes), (1, 1));
        assert!(told.traffic.bytes_in >= account.received.bytes && told.score.is_some() && told.since.unix_secs() > 0);
        assert_eq!(b.counters().validated.load(Relaxed), 1);
        assert_eq!(b.counters().duplicates.load(Relaxed), 0);
        assert_eq!(b.counters().sizes.bytes(), to_b.raw().len() as u64);
        assert!(b.counters().metered.load(Relaxed) > 0);
        assert!(b.post(to_b).await.unwrap().already_pooled);
        follows_and_changes(&a, &b, &mut at_a, &mut at_b).await;

        a.shutdown().await;
        assert!(matches!(next(&mut at_b).await, Event::PeerGone { .. }));
        assert_eq!(a.post(to_a).await, Err(PostError::Stopped));
        assert!(a.peers().await.is_empty());
        drop(b);
        task_a.await.unwrap();
        task_b.await.unwrap();
    })
    .await
    .expect("in time");
}
