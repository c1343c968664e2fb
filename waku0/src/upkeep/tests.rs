use devp2p::clock::now;
use proptest::prelude::*;

use super::*;
use crate::accounting::{Account, Volume};

const TARGET: usize = 3;
const INBOUND: usize = 4;

fn id(n: u64) -> NodeId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    NodeId::from_bytes(bytes)
}

/// A pool of waku/0 alone, with these static nodes.
fn upkeep(statics: &[u64], start: Instant) -> Upkeep {
    let statics: Vec<_> = statics.iter().copied().map(id).collect();
    Upkeep::new(Shares::new(&[Version::Waku0], TARGET, 10), INBOUND, &statics, &[], start)
}

/// A dialled peer that has been there since `since`.
fn dialled(n: u64, since: Instant) -> Member {
    Member {
        conn: ConnId(n),
        node: id(n),
        version: Version::Waku0,
        inbound: false,
        since,
        light: false,
        wants_nothing: false,
        traffic: Traffic::default(),
    }
}

fn inbound(n: u64, since: Instant) -> Member {
    Member { inbound: true, ..dialled(n, since) }
}

fn traffic(envelopes: u64, useful: u64, bytes_in: u64) -> Traffic {
    let received = Volume { envelopes, bytes: useful };
    Traffic { account: Account { received, ..Account::default() }, bytes_in }
}

fn left(orders: Orders) -> Option<(u64, DisconnectReason)> {
    orders.leave.map(|(conn, reason)| (conn.0, reason))
}

#[test]
fn the_worst_goes_when_there_are_more_than_the_target() {
    let start = now().instant;
    let mut upkeep = upkeep(&[], start);
    let mut members: Vec<_> = (0..4).map(|n| dialled(n, start)).collect();
    for (member, envelopes) in members.iter_mut().zip([5, 2, 9, 7]) {
        member.traffic = traffic(envelopes, 1024, 1024);
    }
    assert_eq!(left(upkeep.look(start, &members)), None, "each has some time");
    let later = start + GRACE;
    assert_eq!(left(upkeep.look(later, &members)), Some((1, DisconnectReason::TooManyPeers)));
    members.push(dialled(4, start));
    let (next, orders) = (later + ROTATE_EVERY, upkeep.look(later + TICK, &members));
    assert_eq!(left(orders), None, "one in a while");
    assert_eq!(left(upkeep.look(next, &members)), Some((4, DisconnectReason::TooManyPeers)));
    assert_eq!(left(upkeep.look(next + ROTATE_EVERY, &members[..TARGET])), None, "that is the target");
}

#[test]
fn light_nodes_are_served_and_others_are_sought_beside_them() {
    let start = now().instant;
    let (mut upkeep, later) = (upkeep(&[], start), start + GRACE);
    let mut members: Vec<_> = (0..3).map(|n| dialled(n, start)).collect();
    assert_eq!(upkeep.look(start, &members), Orders { leave: None, seek: TARGET });
    members[1].light = true;
    members[2].wants_nothing = true;
    assert_eq!(upkeep.look(later, &members), Orders { leave: None, seek: TARGET + 2 }, "kept while no other is there");
    members.push(dialled(3, start));
    let gone = Some((2, DisconnectReason::UselessPeer));
    assert_eq!(left(upkeep.look(later, &members)), gone, "who wants nothing goes first");
    members.remove(2);
    members.push(dialled(4, start));
    assert_eq!(left(upkeep.look(later + ROTATE_EVERY, &members)), Some((1, DisconnectReason::UselessPeer)));
}

#[test]
fn who_mostly_brings_what_is_of_no_use_is_no_upstream() {
    let start = now().instant;
    let mut upkeep = upkeep(&[], start);
    let mut members = vec![dialled(0, start), dialled(1, start)];
    members[0].traffic = traffic(100, 50_000, 100_000);
    members[1].traffic = traffic(10, 5_000, 200_000);
    let orders = upkeep.look(start, &members);
    assert!(upkeep.score(start, &members[0]) > 0.0 && upkeep.score(start, &members[1]) < BAD);
    assert_eq!(orders.seek, TARGET + 1);
    // What is long past counts less and less.
    let later = start + 12 * MEMORY;
    members[1].traffic = traffic(60, 30_000, 230_000);
    upkeep.look(later, &members);
    assert!(upkeep.score(later, &members[1]) > 0.0);
}

#[test]
fn blame_for_how_connections_end_outlives_them_and_fades() {
    let start = now().instant;
    let mut upkeep = upkeep(&[], start);
    let [good, bad] = [dialled(1, start), dialled(2, start)];
    upkeep.ended(start, good.node, DisconnectReason::ClientQuitting);
    upkeep.ended(start, bad.node, DisconnectReason::ProtocolBreach);
    assert_eq!((upkeep.score(start, &good), upkeep.score(start, &bad)), (0.0, -1.0));
    let later = start + BLAME_MEMORY;
    assert!((upkeep.score(later, &bad) + 0.5).abs() < 1e-9);
    for n in 0..2 * MAX_BLAMES as u64 {
        upkeep.ended(later, id(n + 10), DisconnectReason::TcpError);
    }
    assert_eq!(upkeep.blames.len(), MAX_BLAMES);
    assert!(upkeep.score(later, &bad) < -0.4, "the least blamed are forgotten");
}

#[test]
fn static_nodes_stay_and_so_many_upstream_ones_as_there_are_of_them() {
    let start = now().instant;
    let (mut upkeep, later) = (upkeep(&[1, 2], start), start + GRACE);
    let mut members: Vec<_> = (0..3).map(|n| dialled(n, start)).collect();
    members[1].traffic = traffic(0, 0, 1 << 20);
    members[2].wants_nothing = true;
    assert_eq!(upkeep.look(later, &members).leave, None);
    // Static nodes are no upstream, and of four others two are: these stay.
    members.extend((3..6).map(|n| dialled(n, start)));
    members[3].light = true;
    members[4].light = true;
    let mut gone = Vec::new();
    for minute in 0..10 {
        let orders = upkeep.look(later + minute * ROTATE_EVERY, &members);
        if let Some((conn, _)) = left(orders) {
            members.retain(|member| member.conn.0 != conn);
            gone.push(conn);
        }
    }
    assert_eq!(gone, [4], "three are left beside the static ones, which is the target");
}

#[test]
fn newcomers_of_no_use_do_not_turn_out_who_is_upstream() {
    let start = now().instant;
    let (mut upkeep, later) = (upkeep(&[], start), start + GRACE);
    let mut members = vec![dialled(0, start), dialled(1, start)];
    members.extend([2, 3].map(|n| Member { light: true, ..dialled(n, later) }));
    assert_eq!(upkeep.look(later, &members).leave, None, "fewer are upstream than the target");
    let then = later + GRACE;
    assert_eq!(left(upkeep.look(then, &members)), Some((3, DisconnectReason::UselessPeer)));
}

#[test]
fn a_crowd_leaves_as_many_upstream_as_there_are_static_nodes() {
    let start = now().instant;
    let shares = || Shares::new(&[Version::Waku0, Version::Waku1], 4, 4);
    let statics = [id(90), id(91), id(92)];
    let later = start + GRACE;
    // Two may be of waku/0, and three are.
    let mut members: Vec<_> = (0..3).map(|n| inbound(n, start)).collect();
    let crowd = |statics: &[NodeId], members: &[Member]| {
        Upkeep::new(shares(), 9, statics, &[], start).look(later, members).leave.is_some()
    };
    assert!(crowd(&statics[..2], &members) && !crowd(&statics, &members));
    members[0].light = true;
    assert!(crowd(&statics, &members), "it is none of them");
}

#[test]
fn who_dialled_us_goes_when_no_place_is_free_and_it_is_of_no_use() {
    let start = now().instant;
    let (mut upkeep, later) = (upkeep(&[], start), start + GRACE);
    let mut members: Vec<_> = (0..INBOUND as u64).map(|n| inbound(n, start)).collect();
    members[0].light = true;
    assert_eq!(upkeep.look(later, &members).leave, None, "light nodes are there to be served");
    members[2].wants_nothing = true;
    assert_eq!(upkeep.look(later, &members[1..]).leave, None, "there is a place");
    assert_eq!(left(upkeep.look(later, &members)), Some((2, DisconnectReason::UselessPeer)));
}

#[test]
fn who_is_kept_stays_until_it_is_released() {
    let start = now().instant;
    let (mut upkeep, later) = (upkeep(&[], start), start + GRACE);
    let mut members: Vec<_> = (0..INBOUND as u64).map(|n| inbound(n, start)).collect();
    members[2].wants_nothing = true;
    upkeep.keep(id(2));
    assert_eq!(upkeep.look(later, &members).leave, None);
    upkeep.release(id(2));
    assert_eq!(left(upkeep.look(later, &members)), Some((2, DisconnectReason::UselessPeer)));
}

#[test]
fn one_family_does_not_take_what_the_others_need() {
    let start = now().instant;
    let shares = Shares::new(&Version::ALL, 8, 25);
    let share = |version| Share { version, target: 3, most: 19 };
    assert_eq!(shares, Shares(Version::ALL.map(share).to_vec()));
    assert_eq!(Shares::new(&[Version::Waku0], 8, 25).0, [Share { version: Version::Waku0, target: 8, most: 25 }]);
    assert_eq!(Shares::new(&[], 8, 25).target(), 0);
    let (mut upkeep, later) = (Upkeep::new(shares, 25, &[], &[], start), start + GRACE);
    let of = |version, n| Member { version, ..inbound(n, start) };
    let mut members: Vec<_> = (0..19).map(|n| of(Version::Waku0, n)).collect();
    members.push(of(Version::Waku1, 19));
    assert_eq!(upkeep.look(later, &members).leave, None);
    members.push(of(Version::Waku0, 20));
    assert_eq!(left(upkeep.look(later, &members)), Some((20, DisconnectReason::TooManyPeers)));
    // Of four that were dialled for waku/1, one is too many where there are others, though they are fewer than the targets together.
    let members = |count, others: &[Version]| -> Vec<_> {
        let dialled = (0..count).map(|n| Member { version: Version::Waku1, ..dialled(n, start) });
        dialled.chain(others.iter().zip(90..).map(|(version, n)| of(*version, n))).collect()
    };
    let is_one_left = |members: &[Member]| {
        let mut upkeep = Upkeep::new(Shares::new(&Version::ALL, 8, 25), 25, &[], &[], start);
        upkeep.look(later, members).leave.is_some()
    };
    let both = [Version::Shh6, Version::Waku0];
    assert!(is_one_left(&members(4, &both)) && !is_one_left(&members(3, &both)));
    // Where nobody speaks anything else, all but a place for each other version is theirs.
    assert!(is_one_left(&members(8, &[])) && !is_one_left(&members(7, &[])));
    assert!(is_one_left(&members(6, &both[..1])) && !is_one_left(&members(5, &both[..1])));
}

#[test]
fn looks_at_once_when_something_happens_and_every_quarter_minute() {
    let start = now().instant;
    let mut upkeep = upkeep(&[], start);
    assert_eq!(upkeep.wake_at(), start);
    upkeep.look(start, &[]);
    assert_eq!(upkeep.wake_at(), start + TICK);
    upkeep.stir(start + Duration::from_secs(5));
    assert_eq!(upkeep.wake_at(), start + Duration::from_secs(5));
    upkeep.look(start + Duration::from_secs(5), &[]);
    (0..1_000).for_each(|_| upkeep.ended(start + Duration::from_secs(5), id(1), DisconnectReason::Requested));
    assert_eq!(upkeep.wake_at(), start + Duration::from_secs(6), "however much happens");
}

proptest! {
    #[test]
    fn nobody_is_left_without_reason(
        kinds in prop::collection::vec((any::<bool>(), any::<bool>(), any::<bool>(), 0..400_u64, 0..600_u64), 0..20),
        statics in prop::collection::vec(0..20_u64, 0..4),
    ) {
        let start = now().instant;
        let mut upkeep = upkeep(&statics, start);
        let mut members = Vec::new();
        for (n, (comes, light, wants_nothing, waste, since)) in kinds.into_iter().enumerate() {
            let traffic = traffic(n as u64, 1_000 * n as u64, 1_000 * (n as u64 + waste));
            let since = start + Duration::from_secs(since);
            members.push(Member { inbound: comes, light, wants_nothing, traffic, ..dialled(n as u64, since) });
        }
        let at = start + Duration::from_secs(600);
        let orders = upkeep.look(at, &members);
        prop_assert!((TARGET..=2 * TARGET).contains(&orders.seek));
        if let Some((conn, _)) = orders.leave {
            let gone = &members[conn.0 as usize];
            prop_assert!(!statics.contains(&conn.0) && at - gone.since >= GRACE);
            let others = |comes| {
                let other = |member: &&Member| member.inbound == comes && !statics.contains(&member.conn.0);
                members.iter().filter(other).count()
            };
            let many = if gone.inbound { others(true) >= INBOUND } else { others(false) > TARGET };
            prop_assert!(many || others(true) + others(false) > 10);
        }
    }
}
