//! What is missing, in virtual time.

use proptest::prelude::*;

use super::*;
use crate::{policy::Ways, router::Route};

const REACH: Reach = Reach { most_secs: 100_000, new_secs: 0 };
const NOBODY: fn(&Source) -> bool = |_| false;
const ALL: fn(&Source) -> bool = |_| true;

fn pubsub() -> PubsubTopic {
    "/waku/2/rs/0/0".parse().unwrap()
}

fn routes() -> Router {
    Router::new(Route::everything(pubsub(), Ways::Both))
}

/// One that began at this time.
fn ledger(now: u64) -> Ledger {
    let mut ledger = Ledger::new(Some(REACH), Some(REACH));
    ledger.follow(now, &routes());
    ledger
}

fn course(ledger: &Ledger, direction: Direction) -> &Course {
    ledger.courses().find(|course| course.direction == direction).unwrap()
}

/// Begin, end and cause of what is missing of v1.
fn missing(ledger: &Ledger) -> Vec<(u64, Option<u64>, Cause)> {
    let all = &course(ledger, Direction::V1ToV2).missing;
    all.iter().map(|missing| (missing.from, missing.to, missing.cause)).collect()
}

/// What another life has of it.
fn reborn(ledger: &Ledger) -> Ledger {
    let mut again = Ledger::new(ledger.v1, ledger.v2);
    again.restore(ledger.courses().cloned());
    again
}

fn v1(source: &Source) -> bool {
    *source == Source::V1
}

#[test]
fn an_absence_is_missing_from_the_last_look_to_the_next() {
    let mut ledger = ledger(1_000);
    ledger.look(1_005, ALL);
    ledger.look(1_010, |source| !v1(source));
    assert_eq!(missing(&ledger), [(1_005, None, Cause::NoPeer)]);
    assert_eq!(course(&ledger, Direction::V1ToV2).confirmed(), 1_005);
    assert_eq!(course(&ledger, Direction::V2ToV1).confirmed(), 1_010);
    assert_eq!(ledger.next(1_020, ALL), None, "it lasts");
    ledger.look(1_060, |source| !v1(source));
    ledger.look(1_100, ALL);
    assert_eq!(missing(&ledger), [(1_005, Some(1_100), Cause::NoPeer)]);
    let task = Task { source: Source::V1, from: 885, until: 1_120 };
    assert_eq!(ledger.next(1_101, ALL), Some(task.clone()));
    assert_eq!(course(&ledger, Direction::V1ToV2).missing[0].state, State::Filling);
    ledger.advance(&task, task.until, &BTreeMap::from([("default".into(), 7)]));
    let course = course(&ledger, Direction::V1ToV2);
    assert_eq!((course.missing[0].state, course.missing[0].came, course.confirmed()), (State::Filled, 7, 1_100));
    assert_eq!(ledger.next(1_101, ALL), None);
}

#[test]
fn a_short_absence_is_left_to_gossip() {
    let mut ledger = ledger(1_000);
    ledger.look(1_005, NOBODY);
    ledger.look(1_020, ALL);
    assert_eq!(missing(&ledger), []);
}

#[test]
fn after_a_kill_all_since_the_last_look_is_missing() {
    let mut ledger = ledger(1_000);
    ledger.look(1_005, ALL);
    let mut again = reborn(&ledger);
    again.follow(1_006, &routes());
    again.look(1_006, NOBODY);
    assert_eq!(missing(&again), [(1_005, None, Cause::Stopped)]);
    // Killed before anybody came: the same stretch goes on.
    let mut third = reborn(&again);
    third.look(1_300, ALL);
    assert_eq!(missing(&third), [(1_005, Some(1_300), Cause::Stopped)]);
    // And in an absence.
    third.look(1_310, NOBODY);
    let mut fourth = reborn(&third);
    fourth.look(1_400, ALL);
    assert_eq!(missing(&fourth)[1..], [(1_300, Some(1_400), Cause::NoPeer)]);
}

#[test]
fn a_program_that_stood_still_missed_something() {
    let mut ledger = ledger(1_000);
    ledger.look(1_000 + STALL_SECS, ALL);
    assert_eq!(missing(&ledger), []);
    ledger.look(5_000, ALL);
    assert_eq!(missing(&ledger), [(1_000 + STALL_SECS, Some(5_000), Cause::Stopped)]);
}

#[test]
fn a_clock_that_is_set_back_hides_nothing() {
    let mut ledger = ledger(10_000);
    ledger.look(10_005, NOBODY);
    ledger.look(4_000, NOBODY);
    ledger.look(4_100, ALL);
    assert_eq!(missing(&ledger), [(4_100, Some(10_000), Cause::NoPeer)], "both clocks' times are within");
    let mut later = reborn(&ledger);
    later.look(3_000, ALL);
    assert_eq!(missing(&later)[1], (3_000, Some(4_100), Cause::Stopped));
    let course = course(&later, Direction::V1ToV2);
    assert_eq!((course.seen, course.confirmed()), (3_000, 3_000));
}

#[test]
fn a_new_route_wants_what_was_before_it_and_one_that_is_gone_nothing() {
    let reach = Some(Reach { new_secs: 500, ..REACH });
    let mut ledger = Ledger::new(reach, None);
    ledger.follow(1_000, &routes());
    assert_eq!(missing(&ledger), [(500, None, Cause::New)]);
    assert!(course(&ledger, Direction::V2ToV1).missing.is_empty(), "nobody is asked about v2");
    ledger.look(1_001, ALL);
    ledger.follow(2_000, &routes());
    assert_eq!(missing(&ledger), [(500, Some(1_001), Cause::New)], "it is known");
    let other = Route { name: "other".into(), ..Route::everything(pubsub(), Ways::V2ToV1) };
    ledger.follow(2_000, &Router::new(other));
    let names: Vec<_> = ledger.courses().map(|course| (&*course.route, course.direction)).collect();
    assert_eq!(names, [("other", Direction::V2ToV1)]);
}

#[test]
fn what_failed_is_told_and_tried_after_the_rest() {
    let mut ledger = ledger(1_000);
    ledger.look(1_030, NOBODY);
    ledger.look(1_100, ALL);
    let first = ledger.next(1_100, ALL).unwrap();
    ledger.fail(&first);
    let second = ledger.next(1_100, ALL).unwrap();
    assert_ne!(first.source, second.source);
    ledger.fail(&second);
    assert!(ledger.courses().all(|course| course.missing[0].state == State::Failed && course.confirmed() == 1_000));
    assert_eq!(ledger.next(1_100, ALL), Some(first), "again");
}

#[test]
fn what_is_too_long_ago_stays_missing() {
    let mut ledger = Ledger::new(Some(Reach { most_secs: 1_000, new_secs: 0 }), None);
    ledger.follow(1_000, &routes());
    ledger.look(10_000, ALL);
    let task = ledger.next(10_000, v1).unwrap();
    assert_eq!((task.from, task.until), (9_000, 10_020));
    ledger.advance(&task, task.until, &BTreeMap::new());
    assert_eq!(ledger.next(10_100, v1), None);
    let course = course(&ledger, Direction::V1ToV2);
    let states: Vec<_> = course.missing.iter().map(|missing| (missing.from, missing.to, missing.state)).collect();
    assert_eq!(states, [(1_000, Some(9_000), State::Failed), (9_000, Some(10_000), State::Filled)]);
    assert_eq!(course.seconds_missing(10_100), 8_000);
}

#[test]
fn the_oldest_become_one_and_none_is_lost() {
    let mut ledger = ledger(0);
    for n in 0..MAX_MISSING as u64 + 5 {
        ledger.look(1_000 * n + 10, ALL);
        ledger.look(1_000 * n + 20, NOBODY);
        ledger.look(1_000 * n + 50, NOBODY);
    }
    let course = course(&ledger, Direction::V1ToV2);
    assert_eq!(course.missing.len(), MAX_MISSING);
    assert_eq!((course.missing[0].from, course.confirmed()), (10, 10));
    // Those that are filled go first.
    let mut again = reborn(&ledger);
    again.look(90_000, ALL);
    let task = again.next(90_000, v1).unwrap();
    again.advance(&task, task.until, &BTreeMap::new());
    let before = missing(&again).len();
    again.look(90_010, NOBODY);
    assert!(missing(&again).len() <= before && before <= MAX_MISSING);
}

proptest! {
    /// Whatever answers come, and however often it is killed: what counts as here was asked for, or somebody told it live.
    #[test]
    fn what_was_filled_covers_what_was_missing(
        steps in prop::collection::vec((0_u8..5, 1_u64..4_000, any::<bool>()), 1..200),
        begins in 100_000_u64..200_000,
    ) {
        let far = Some(Reach { most_secs: u64::MAX, new_secs: 0 });
        let mut ledger = Ledger::new(far, far);
        ledger.follow(begins, &routes());
        let (mut now, mut heard, mut asked) = (begins, vec![(begins, begins)], Vec::new());
        let mut last_there = Some(begins);
        for (step, secs, good) in steps {
            match step {
                0 | 1 => {
                    // Somebody was there from look to look.
                    now += if step == 0 { secs } else { secs % STALL_SECS };
                    ledger.look(now, |_| good);
                    if let (Some(last), true) = (last_there, good) && now - last <= STALL_SECS {
                        heard.push((last, now));
                    }
                    if good {
                        heard.push((now, now));
                    }
                    last_there = good.then_some(now);
                }
                2 => {
                    ledger = reborn(&ledger);
                    ledger.follow(now, &routes());
                    last_there = None;
                }
                _ => if let Some(task) = ledger.next(now, v1) {
                    prop_assert!(task.until - task.from <= SLICE_SECS + OVERLAP_SECS);
                    if good {
                        ledger.advance(&task, task.until, &BTreeMap::new());
                        asked.push((task.from, task.until));
                    } else {
                        ledger.fail(&task);
                    }
                },
            }
            let course = course(&ledger, Direction::V1ToV2);
            prop_assert!(course.missing.len() <= MAX_MISSING);
            let confirmed = course.confirmed();
            let mut all: Vec<_> = heard.iter().chain(&asked).copied().collect();
            all.sort_unstable();
            let covered = all.iter().fold(begins, |until, (from, to)| match *from <= until + SHORT_SECS {
                true => until.max(*to),
                false => until,
            });
            prop_assert!(confirmed <= covered, "{confirmed} is said, {covered} is true");
        }
        // And in the end nothing is left, if all answer.
        ledger.look(now + 1, |_| true);
        for _ in 0..10_000 {
            let Some(task) = ledger.next(now + 1, v1) else { break };
            ledger.advance(&task, task.until, &BTreeMap::new());
        }
        prop_assert_eq!(course(&ledger, Direction::V1ToV2).confirmed(), now + 1);
    }
}
