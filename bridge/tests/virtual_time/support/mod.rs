//! What the tests are made of: envelopes and messages of users, one core on a string, networks in memory.

pub(crate) mod disk;
pub(crate) mod lone;
pub(crate) mod old;
pub(crate) mod users;
pub(crate) mod world;

use std::{env, time::Duration};

use devp2p::clock::{self, Now};

/// Wall clock at the start of every test: unix seconds.
pub(crate) const START_SECS: u64 = 1_700_000_000;

/// The start of a test. The monotonic clock's value is the machine's; nothing depends on it.
pub(crate) fn start() -> Now {
    Now { instant: clock::now().instant, unix: Duration::from_secs(START_SECS) }
}

/// Runs a test for several numbers, or for the one in `SIM_SEED`, and prints the number if it fails.
pub(crate) fn for_seeds(count: u64, test: impl Fn(u64)) {
    struct Replay(u64);
    impl Drop for Replay {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("replay with SIM_SEED={}", self.0);
            }
        }
    }
    let chosen = env::var("SIM_SEED").ok().and_then(|text| text.parse().ok());
    for seed in chosen.map_or(0..count, |seed| seed..seed + 1) {
        let _replay = Replay(seed);
        test(seed);
    }
}
