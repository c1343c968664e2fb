//! The interface of the crate `futures-timer` over tokio's timers.
//!
//! libp2p gives every message that waits for a peer a timer, and takes its timers from that crate, which keeps them in a thread of its
//! own: two system calls and two switches of thread for each message relayed, a sixth of what relaying costs. tokio keeps them in
//! the threads that run already. `[patch.crates-io]` in the root manifest puts this crate in the other's place.
//!
//! Only what libp2p calls is here. A [`Delay`] may be made anywhere, and must be polled inside a tokio runtime.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// How far a deadline lies that is too far to be told, as tokio has it.
const FAR_FUTURE: Duration = Duration::from_secs(86_400 * 365 * 30);

/// Is ready once its time has passed, and stays so until it is set anew.
#[derive(Debug)]
pub struct Delay {
    deadline: Instant,
    /// Made when somebody waits: most timers are dropped before.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Delay {
    /// Ready `dur` from now.
    #[must_use]
    pub fn new(dur: Duration) -> Self {
        Self { deadline: deadline(dur), sleep: None }
    }

    /// Ready `dur` from now, whatever was set before. Whoever waits is woken then, and need not poll again first.
    pub fn reset(&mut self, dur: Duration) {
        self.deadline = deadline(dur);
        if let Some(sleep) = &mut self.sleep {
            sleep.as_mut().reset(self.deadline);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "shell")]
fn deadline(dur: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(dur).unwrap_or_else(|| now + FAR_FUTURE)
}

impl Future for Delay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline))).as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    async fn is_ready(delay: &mut Delay) -> bool {
        timeout(Duration::ZERO, delay).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn ready_when_its_time_has_passed_and_from_then_on() {
        let mut delay = Delay::new(SECOND);
        assert!(!is_ready(&mut delay).await);
        advance(SECOND).await;
        assert!(is_ready(&mut delay).await && is_ready(&mut delay).await);
    }

    #[tokio::test(start_paused = true)]
    async fn set_anew_it_waits_anew_whether_it_was_waited_for_or_not() {
        for waited in [false, true] {
            let mut delay = Delay::new(SECOND);
            assert!(!waited || !is_ready(&mut delay).await);
            delay.reset(3 * SECOND);
            advance(2 * SECOND).await;
            assert!(!is_ready(&mut delay).await);
            advance(SECOND).await;
            assert!(is_ready(&mut delay).await);
            delay.reset(SECOND);
            assert!(!is_ready(&mut delay).await);
        }
    }

    #[tokio::test(start_paused = true)]
    #[expect(clippy::disallowed_methods, reason = "the clock that the test sets")]
    async fn the_waiting_task_is_woken_at_the_time_set_last() {
        let start = Instant::now();
        let mut delay = Delay::new(60 * SECOND);
        assert!(!is_ready(&mut delay).await);
        delay.reset(SECOND);
        delay.await;
        assert_eq!(start.elapsed(), SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn no_time_is_too_long_or_too_short() {
        assert!(is_ready(&mut Delay::new(Duration::ZERO)).await);
        assert!(!is_ready(&mut Delay::new(Duration::MAX)).await);
    }

    #[test]
    fn made_and_dropped_outside_a_runtime() {
        let mut delay = Delay::new(SECOND);
        delay.reset(SECOND);
        assert!(delay.sleep.is_none());
    }
}
