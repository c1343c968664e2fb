//! Who must have had which envelope: the earliest time at which it has reached each node for certain, over the links that were
//! up, and so before it expired.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    time::Duration,
};

use waku0::{Envelope, Pow};

use super::{
    Rule,
    observer::{Life, Observer},
    plan::{MAX_SKEW, Plan},
};

/// For clocks that are off, and expiry in whole seconds.
const MARGIN: Duration = Duration::from_secs(2).saturating_add(MAX_SKEW);

/// Seconds that an envelope seems to come from the future at most, whoever looks at it.
const MAX_AHEAD_SECS: u32 = 3;

/// What a limit on packets adds on one way: a second until the next may leave, and a little.
const PACKET_WAIT: Duration = Duration::from_millis(1_200);

/// What a full connection adds: it is tried again every 20 ms, and takes one packet more each time one arrives.
const FULL_WAIT: Duration = Duration::from_secs(1);

/// What Whisper adds: it is sent nothing from the future, by our clock, and what just has the work a second later.
const RIPE_WAIT: Duration = MAX_SKEW.saturating_add(Duration::from_secs(2));

/// A connection that was there.
#[derive(Debug)]
struct Up {
    link: usize,
    lives: [Life; 2],
    from: Duration,
    to: Duration,
}

#[derive(Debug)]
struct Posted {
    life: Life,
    at: Duration,
    /// When it expires, since the network began, by a clock that is right.
    until: Duration,
    envelope: Envelope,
}

#[derive(Debug, Default)]
pub(super) struct Reach {
    ups: Vec<Up>,
    posted: Vec<Posted>,
}

impl Reach {
    pub(super) fn was_up(&mut self, link: usize, lives: [Life; 2], from: Duration, to: Duration) {
        self.ups.push(Up { link, lives, from, to });
    }

    pub(super) fn posted(&mut self, life: Life, at: Duration, until: Duration, envelope: Envelope) {
        self.posted.push(Posted { life, at, until, envelope });
    }

    /// Demands every delivery that was owed.
    pub(super) fn judge(&self, plan: &Plan, observer: &mut Observer) {
        for posted in &self.posted {
            let hash = posted.envelope.hash();
            for (life, at) in self.reached(plan, posted) {
                if life == posted.life {
                    continue;
                }
                observer.report.tally.owed += 1;
                if !observer.delivered.contains_key(&(life.number, hash)) {
                    let what = format!("{hash}, posted by {} after {:?}", posted.life.node, posted.at);
                    observer.broken(Rule::Reached, at, life, what);
                }
            }
        }
    }

    /// Who has it for certain, and since when: Dijkstra over connections that come and go.
    fn reached(&self, plan: &Plan, posted: &Posted) -> HashMap<Life, Duration> {
        let mut reached = HashMap::new();
        let mut next = BinaryHeap::from([Reverse((posted.at, posted.life.number))]);
        let mut lives = HashMap::from([(posted.life.number, posted.life)]);
        while let Some(Reverse((at, number))) = next.pop() {
            let life = lives[&number];
            if reached.contains_key(&life) {
                continue;
            }
            reached.insert(life, at);
            if life.light && life != posted.life {
                continue;
            }
            for up in &self.ups {
                let Some(other) = up.other(life) else { continue };
                let arrival = up.arrival(plan, posted, at, other);
                if wants(plan, other, &posted.envelope) && arrival <= up.to && arrival + MARGIN <= posted.until {
                    lives.insert(other.number, other);
                    next.push(Reverse((arrival, other.number)));
                }
            }
        }
        reached
    }
}

impl Up {
    fn other(&self, life: Life) -> Option<Life> {
        match self.lives {
            [a, b] if a == life => Some(b),
            [a, b] if b == life => Some(a),
            _ => None,
        }
    }

    /// When an envelope that is at one end at `at` is at the other for certain.
    fn arrival(&self, plan: &Plan, posted: &Posted, at: Duration, to: Life) -> Duration {
        let link = &plan.links[self.link];
        let limits = plan.nodes[to.node].settings.rates.announced();
        let mut wait = link.longest();
        if link.is_narrow() {
            wait += link.longest() + FULL_WAIT;
        }
        if limits.ip > 0 || limits.peer > 0 {
            wait += PACKET_WAIT;
        }
        if let Some(seconds) = plan.posts_of(posted.envelope.topic()).checked_div(limits.topic as u32) {
            wait += PACKET_WAIT * (seconds + 1);
        }
        if !link.version.is_forgiving() {
            wait += RIPE_WAIT;
        }
        let running = self.from + link.longest();
        at.max(running) + wait
    }
}

/// Whether a node takes it, whatever its clock says. What a node takes that changes its mind is left open.
fn wants(plan: &Plan, life: Life, envelope: &Envelope) -> bool {
    if !plan.is_steady(life.node) {
        return false;
    }
    let settings = &plan.nodes[life.node].settings;
    let ttl = f64::from(envelope.ttl());
    let least = envelope.pow().value() * ttl / (ttl + f64::from(MAX_AHEAD_SECS + 1));
    settings.interest.matches(envelope.topic()) && Pow::new(least).is_ok_and(|pow| pow >= settings.min_pow)
}
