//! Keeping the pool of peers useful: how many to seek, and whom to leave for a better one. A pure core.
//!
//! Who is dialled when is [`devp2p::dial`]'s; this core sees who is connected and says how many more are to be sought, and at most once in
//! [`ROTATE_EVERY`] whom to leave. *Upstream* is a peer that brings envelopes and takes ours: not a light node, which is served all the same, nor
//! one that wants nothing (an absurd proof of work, an empty interest), nor one that mostly brings what is of no use.
//!
//! * Static and trusted nodes are never left, and never counted against a target.
//! * Of those that we have dialled, as many as the target of their protocol are kept. While some are no upstream, others are sought beside them;
//!   when these are there, the worst goes.
//! * Of those that have dialled us, the worst goes when no place is free for another, if it is of no use to us and we of none to it.
//! * One version of the protocol never takes what the others need: [`Shares`].
//! * While no more than the floor are upstream, which is as many as there are static nodes, no upstream peer is left.
//!
//! Limits: [`MAX_PEERS`] members are looked at, [`MAX_BLAMES`] nodes remembered; the least blamed makes room.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use devp2p::{ConnId, DisconnectReason, NodeId};

use crate::{accounting::Traffic, node::MAX_PEERS, version::Version};

/// How often the peers are looked at when nothing happens.
pub const TICK: Duration = Duration::from_secs(15);

/// How soon after one look the next may be, however much happens.
const SOONEST: Duration = Duration::from_secs(1);

/// At most one peer is left in this time.
pub const ROTATE_EVERY: Duration = Duration::from_secs(60);

/// A peer has so long to show of what use it is.
pub const GRACE: Duration = Duration::from_secs(5 * 60);

/// What a peer brought counts half after this time.
pub const MEMORY: Duration = Duration::from_secs(10 * 60);

/// What a node is blamed for counts half after this time.
pub const BLAME_MEMORY: Duration = Duration::from_secs(60 * 60);

/// Nodes that are blamed for how connections ended, at most.
pub const MAX_BLAMES: usize = 1024;

/// A score below which a peer is no upstream: more than half of what it brings is of no use, or it was blamed for as much.
pub const BAD: f64 = -0.5;

/// What may be taken of the connections by each version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shares(Vec<Share>);

/// What one version may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Whose.
    pub version: Version,
    /// So many of those that we dial are kept.
    pub target: usize,
    /// So many there may be at most, whoever dialled.
    pub most: usize,
}

impl Shares {
    /// Shares `target` out among versions, rounded up; of `max` connections each leaves their targets to the others.
    #[must_use]
    pub fn new(versions: &[Version], target: usize, max: usize) -> Self {
        let each = target.div_ceil(versions.len().max(1));
        let most = max.saturating_sub(each.saturating_mul(versions.len().saturating_sub(1))).max(each);
        Self(versions.iter().map(|version| Share { version: *version, target: each, most }).collect())
    }

    /// So many of those that we dial may be of this version: its share, and what others leave of which nobody is there at all.
    /// Each of those keeps one place, in which they are looked for.
    fn room(&self, of: Share, is_there: impl Fn(Version) -> bool) -> usize {
        let absent = self.0.iter().filter(|share| share.version != of.version && !is_there(share.version));
        of.target + absent.map(|share| share.target.saturating_sub(1)).sum::<usize>()
    }

    fn target(&self) -> usize {
        self.0.iter().map(|share| share.target).sum()
    }
}

/// A peer whose Status was exchanged.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Its connection.
    pub conn: ConnId,
    /// Who it is.
    pub node: NodeId,
    /// What is spoken with it.
    pub version: Version,
    /// Whether it dialled us.
    pub inbound: bool,
    /// Since when.
    pub since: Instant,
    /// Whether it forwards nothing.
    pub light: bool,
    /// Whether nothing we could send it would be what it wants.
    pub wants_nothing: bool,
    /// What went over the connection so far.
    pub traffic: Traffic,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orders {
    /// Whom to leave, and with which reason.
    pub leave: Option<(ConnId, DisconnectReason)>,
    /// How many connections are to be sought beside static nodes.
    pub seek: usize,
}

/// The pool of peers, and what is remembered of them.
#[derive(Debug)]
pub struct Upkeep {
    shares: Shares,
    /// Slots of peers that dial us.
    max_inbound: usize,
    /// Static nodes; [`devp2p::dial::MAX_ADDED`] beside those of the beginning.
    statics: HashSet<NodeId>,
    trusted: HashSet<NodeId>,
    floor: usize,
    recent: HashMap<ConnId, Recent>,
    blames: HashMap<NodeId, Blame>,
    look_at: Instant,
    looked_at: Option<Instant>,
    rotated_at: Option<Instant>,
}

/// What a peer has brought lately.
#[derive(Debug, Clone, Copy)]
struct Recent {
    at: Instant,
    seen: Traffic,
    useful: f64,
    kib: f64,
    waste_kib: f64,
}

#[derive(Debug, Clone, Copy)]
struct Blame {
    at: Instant,
    weight: f64,
}

impl Blame {
    fn now(&self, now: Instant) -> f64 {
        self.weight * fading(now.saturating_duration_since(self.at), BLAME_MEMORY)
    }
}

impl Upkeep {
    /// A pool without peers. `statics` are dialled for ever; they and `trusted` ones are never left.
    #[must_use]
    pub fn new(shares: Shares, max_inbound: usize, statics: &[NodeId], trusted: &[NodeId], now: Instant) -> Self {
        let floor = statics.len().clamp(1, shares.target().max(1));
        Self {
            shares,
            max_inbound,
            statics: statics.iter().copied().collect(),
            trusted: trusted.iter().copied().collect(),
            floor,
            recent: HashMap::new(),
            blames: HashMap::new(),
            look_at: now,
            looked_at: None,
            rotated_at: None,
        }
    }

    /// Makes a node static: it is never left from now on.
    pub fn keep(&mut self, node: NodeId) {
        self.statics.insert(node);
    }

    /// Makes a static node one like any other, unless it is trusted.
    pub fn release(&mut self, node: NodeId) {
        self.statics.remove(&node);
    }

    /// When [`Upkeep::look`] is due.
    #[must_use]
    pub fn wake_at(&self) -> Instant {
        self.look_at
    }

    /// Someone came, went, or announced something: looks soon.
    pub fn stir(&mut self, now: Instant) {
        let soonest = self.looked_at.map_or(now, |at| at + SOONEST).max(now);
        self.look_at = self.look_at.min(soonest);
    }

    /// A connection ended, for this reason.
    pub fn ended(&mut self, now: Instant, node: NodeId, reason: DisconnectReason) {
        self.stir(now);
        let weight = weight(reason);
        if weight <= 0.0 {
            return;
        }
        let so_far = self.blame(now, node);
        if self.blames.len() >= MAX_BLAMES && !self.blames.contains_key(&node) {
            let least = self.blames.iter().min_by(|a, b| a.1.now(now).total_cmp(&b.1.now(now)));
            let Some(least) = least.map(|(node, _)| *node) else { return };
            self.blames.remove(&least);
        }
        self.blames.insert(node, Blame { at: now, weight: so_far + weight });
    }

    /// Looks at the peers.
    pub fn look(&mut self, now: Instant, members: &[Member]) -> Orders {
        let members = &members[..members.len().min(MAX_PEERS)];
        (self.looked_at, self.look_at) = (Some(now), now + TICK);
        self.note(now, members);
        let judged: Vec<Judged<'_>> = members.iter().map(|member| self.judge(now, member)).collect();
        let waits = self.rotated_at.is_some_and(|at| now.saturating_duration_since(at) < ROTATE_EVERY);
        let leave = if waits { None } else { self.worst_of_too_many(now, &judged) };
        if leave.is_some() {
            self.rotated_at = Some(now);
        }
        Orders { leave, seek: self.wanted(&judged) }
    }

    /// Useful envelopes for each KiB that the peer has sent lately, less the KiB that were of no use, and less what its node is blamed for.
    #[must_use]
    pub fn score(&self, now: Instant, member: &Member) -> f64 {
        let use_of = |recent: &Recent| {
            let faded = fading(now.saturating_duration_since(recent.at), MEMORY);
            // One KiB more, so that a few bytes are not judged.
            (recent.useful - recent.waste_kib) * faded / (1.0 + recent.kib * faded)
        };
        self.recent.get(&member.conn).map_or(0.0, use_of) - self.blame(now, member.node)
    }

    fn blame(&self, now: Instant, node: NodeId) -> f64 {
        self.blames.get(&node).map_or(0.0, |blame| blame.now(now))
    }

    /// Takes up what the peers have brought since the last look.
    fn note(&mut self, now: Instant, members: &[Member]) {
        let there: HashSet<ConnId> = members.iter().map(|member| member.conn).collect();
        self.recent.retain(|conn, _| there.contains(conn));
        for member in members {
            let traffic = member.traffic;
            let start = Recent { at: now, seen: Traffic::default(), useful: 0.0, kib: 0.0, waste_kib: 0.0 };
            let recent = self.recent.entry(member.conn).or_insert(start);
            let faded = fading(now.saturating_duration_since(recent.at), MEMORY);
            let (useful, seen) = (traffic.account.received, recent.seen.account.received);
            let bytes = traffic.bytes_in.saturating_sub(recent.seen.bytes_in);
            let waste = bytes.saturating_sub(useful.bytes.saturating_sub(seen.bytes));
            recent.useful = recent.useful * faded + useful.envelopes.saturating_sub(seen.envelopes) as f64;
            recent.kib = recent.kib * faded + bytes as f64 / 1024.0;
            recent.waste_kib = recent.waste_kib * faded + waste as f64 / 1024.0;
            (recent.at, recent.seen) = (now, traffic);
        }
    }

    fn judge<'a>(&self, now: Instant, member: &'a Member) -> Judged<'a> {
        let score = self.score(now, member);
        let is_upstream = !member.light && !member.wants_nothing && score > BAD;
        Judged {
            member,
            score,
            is_upstream,
            is_kept: self.statics.contains(&member.node) || self.trusted.contains(&member.node),
        }
    }

    /// As many as the targets say, and one for each that was dialled and is no upstream; twice the targets at most.
    fn wanted(&self, judged: &[Judged<'_>]) -> usize {
        let of_no_use = judged.iter().filter(|peer| peer.is_dialled() && !peer.is_upstream).count();
        let target = self.shares.target();
        target + of_no_use.min(target)
    }

    /// Whom to leave, if anyone.
    fn worst_of_too_many(&self, now: Instant, judged: &[Judged<'_>]) -> Option<(ConnId, DisconnectReason)> {
        let upstream = judged.iter().filter(|peer| peer.is_upstream).count();
        let may_go = |peer: &&Judged<'_>| {
            let had_time = now.saturating_duration_since(peer.member.since) >= GRACE;
            had_time && (!peer.is_upstream || upstream > self.floor)
        };
        let of = |version: Version| judged.iter().filter(move |peer| !peer.is_kept && peer.member.version == version);
        let is_there = |version| judged.iter().any(|peer| peer.member.version == version);
        let worst = self.shares.0.iter().find_map(|share| {
            let room = self.shares.room(*share, is_there);
            let crowded = of(share.version).count() > share.most;
            let dialled = || of(share.version).filter(|peer| peer.is_dialled());
            let surplus = dialled().count() > room;
            let surplus_upstream = dialled().filter(|peer| peer.is_upstream).count() > room;
            let is_surplus =
                |peer: &Judged<'_>| peer.is_dialled() && surplus && (!peer.is_upstream || surplus_upstream);
            let of_too_many = |peer: &&Judged<'_>| crowded || is_surplus(peer);
            of(share.version).filter(of_too_many).filter(may_go).min_by(|a, b| a.cmp(b))
        });
        let worst = worst.or_else(|| self.worst_inbound(judged).filter(may_go))?;
        let reason = if worst.is_upstream { DisconnectReason::TooManyPeers } else { DisconnectReason::UselessPeer };
        Some((worst.member.conn, reason))
    }

    /// Of those that dialled us, the worst that is of no use, when nobody else finds a place. Light nodes are there to be served.
    fn worst_inbound<'a, 'b>(&self, judged: &'b [Judged<'a>]) -> Option<&'b Judged<'a>> {
        let inbound = || judged.iter().filter(|peer| !peer.is_kept && peer.member.inbound);
        let is_full = inbound().count() >= self.max_inbound;
        let is_served = |peer: &Judged<'_>| peer.member.light && peer.score > BAD;
        let of_no_use = |peer: &&Judged<'_>| !(peer.is_upstream || is_served(peer));
        inbound().filter(|_| is_full).filter(of_no_use).min_by(|a, b| a.cmp(b))
    }
}

/// A member, and what is thought of it.
#[derive(Debug)]
struct Judged<'a> {
    member: &'a Member,
    score: f64,
    is_upstream: bool,
    is_kept: bool,
}

impl Judged<'_> {
    /// Did it come of our search?
    fn is_dialled(&self) -> bool {
        !self.is_kept && !self.member.inbound
    }

    /// The worse one is less; of equals the one that came last.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let use_of = |peer: &Self| (peer.is_upstream, !peer.member.wants_nothing);
        use_of(self)
            .cmp(&use_of(other))
            .then(self.score.total_cmp(&other.score))
            .then(other.member.since.cmp(&self.member.since))
            .then(other.member.conn.cmp(&self.member.conn))
    }
}

/// What is left of something after this time, when it halves in `half`.
fn fading(after: Duration, half: Duration) -> f64 {
    0.5_f64.powf(after.as_secs_f64() / half.as_secs_f64())
}

/// How much a node is blamed for a connection that ended so, whoever ended it. Being full, stopping or being connected twice is no fault.
fn weight(reason: DisconnectReason) -> f64 {
    match reason {
        DisconnectReason::Requested
        | DisconnectReason::TooManyPeers
        | DisconnectReason::AlreadyConnected
        | DisconnectReason::ClientQuitting => 0.0,
        DisconnectReason::TcpError | DisconnectReason::ReadTimeout | DisconnectReason::Unknown(_) => 0.2,
        DisconnectReason::UselessPeer
        | DisconnectReason::IncompatibleVersion
        | DisconnectReason::InvalidIdentity
        | DisconnectReason::UnexpectedIdentity
        | DisconnectReason::ConnectedToSelf => 0.5,
        DisconnectReason::ProtocolBreach | DisconnectReason::SubprotocolError => 1.0,
    }
}

#[cfg(test)]
mod tests;
