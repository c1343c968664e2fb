//! Builds the guided fuzzer and runs it over targets, as many at a time as there are processors.

use std::{
    collections::VecDeque,
    env,
    fs::{self, File},
    num::NonZeroUsize,
    panic::catch_unwind,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use devp2p::clock::now;
use fuzz::{TARGETS, Target, mutate::mutate};
use rand::{SeedableRng, rngs::StdRng};

/// A target that takes more memory is at fault: the largest input is 8 KiB, and the largest packet made of it 16 MiB.
const MAX_RSS_MB: u32 = 1_024;

/// An input that takes longer is at fault.
const MAX_INPUT_SECONDS: u32 = 10;

/// Inputs between two looks at the clock.
const BLIND_BATCH: usize = 256;

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where cargo puts what it builds: the directory above the one that this program is in.
///
/// # Errors
/// When the system does not tell where this program is.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let program = env::current_exe()?;
    let directory = program.ancestors().nth(2).context("this program is in no target directory")?;
    Ok(directory.to_owned())
}

/// The cargo that started this program, or the one on the path.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// Targets at a time.
pub(crate) fn at_once() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// The targets of these names, or all when none is named.
///
/// # Errors
/// When there is none of a name.
pub(crate) fn chosen(names: &[String]) -> Result<Vec<&'static Target>> {
    if names.is_empty() {
        return Ok(TARGETS.iter().collect());
    }
    let one = |name: &String| match fuzz::target(name) {
        Some(target) => Ok(target),
        None => {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            bail!("{name} is none of: {}", names.join(" "))
        }
    };
    names.iter().map(one).collect()
}

/// Runs libFuzzer over each of them for so long.
///
/// # Errors
/// When it cannot be built, or has found something.
pub(crate) fn guided(targets: &[&'static Target], seconds: u64) -> Result<()> {
    let program = build()?;
    let place = target_directory()?.join("fuzz");
    println!("{:<16} {:>10} {:>8} {:>8} {:>7}", "target", "inputs", "a second", "edges", "corpus");
    let left = Mutex::new(targets.iter().copied().collect::<VecDeque<_>>());
    let failed = Mutex::new(Vec::new());
    // Not in the head of a loop, which would hold the lock while its body runs.
    let next = || locked(&left).pop_front();
    thread::scope(|scope| {
        for _ in 0..at_once().min(targets.len()) {
            scope.spawn(|| {
                while let Some(target) = next() {
                    if let Err(error) = one(&program, &place, target, seconds) {
                        println!("{:<16} FAILED: {error:#}", target.name);
                        locked(&failed).push(target.name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    if failed.is_empty() { Ok(()) } else { bail!("fuzzing: {}", failed.join(", ")) }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn build() -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["build", "--release", "--locked", "-p", "fuzz", "--bin", "guided", "--features", "libfuzzer"]);
    build.env("RUSTC_WORKSPACE_WRAPPER", root().join("fuzz/instrument").canonicalize()?);
    if !build.status()?.success() {
        bail!("libFuzzer was not built; it needs a C++ compiler. `--blind` does without");
    }
    Ok(target_directory()?.join("release/guided"))
}

fn one(program: &Path, place: &Path, target: &Target, seconds: u64) -> Result<()> {
    let (corpus, found) = (place.join("corpus").join(target.name), place.join("found").join(target.name));
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&found)?;
    let log = place.join(format!("{}.log", target.name));
    for (n, seed) in target.seeds().iter().enumerate() {
        fs::write(corpus.join(format!("seed-{n}")), seed)?;
    }
    let status = Command::new(program)
        .env("FUZZ_TARGET", target.name)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={}", target.max_len))
        .arg(format!("-timeout={MAX_INPUT_SECONDS}"))
        .arg(format!("-rss_limit_mb={MAX_RSS_MB}"))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .arg("-print_final_stats=1")
        .arg(&corpus)
        .stdout(File::create(&log)?)
        .stderr(File::options().append(true).open(&log)?)
        .status()?;
    let words = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    if !status.success() {
        let why = words.lines().skip_while(|line| !line.contains("panicked")).nth(1);
        bail!("{}; see {} and {}", why.unwrap_or("no panic"), log.display(), found.display());
    }
    println!("{}", row(target.name, &words));
    Ok(())
}

/// What libFuzzer said last of its progress.
fn row(name: &str, words: &str) -> String {
    let after = |key: &str| {
        let (_, rest) = words.rsplit_once(key)?;
        rest.split_whitespace().next()
    };
    let field = |key| after(key).unwrap_or("?");
    let (inputs, speed) = (field("stat::number_of_executed_units:"), field("stat::average_exec_per_sec:"));
    let corpus = field(" corp: ").split('/').next().unwrap_or("?");
    format!("{name:<16} {inputs:>10} {speed:>8} {:>8} {corpus:>7}", field(" cov: "))
}

/// Runs mutations of seeds, seeing nothing of what they reach.
///
/// # Errors
/// When an input is not taken; it is kept.
pub(crate) fn blind(targets: &[&'static Target], seconds: u64) -> Result<()> {
    let place = target_directory()?.join("fuzz/found");
    for target in targets {
        let seeds = target.seeds();
        let start = now();
        let mut rng = StdRng::seed_from_u64(start.unix.as_nanos() as u64);
        let mut inputs = 0_u64;
        while now().instant - start.instant < Duration::from_secs(seconds) {
            for _ in 0..BLIND_BATCH {
                let input = mutate(&mut rng, &seeds, target.max_len);
                if catch_unwind(|| (target.run)(&input)).is_err() {
                    let directory = place.join(target.name);
                    fs::create_dir_all(&directory)?;
                    let file = directory.join(format!("blind-{inputs}"));
                    fs::write(&file, &input)?;
                    bail!("{} does not take {}", target.name, file.display());
                }
                inputs += 1;
            }
        }
        println!("{:<16} {inputs:>10} inputs, blind", target.name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_on_progress_counts() {
        let words = "#1 NEW    cov: 10 ft: 11 corp: 2/3b lim: 4\n#9 DONE   cov: 52 ft: 60 corp: 7/42b lim: 9\n\
                     stat::number_of_executed_units: 900\nstat::average_exec_per_sec:     300\n";
        let row = row("rlp", words);
        let fields: Vec<_> = row.split_whitespace().collect();
        assert_eq!(fields, ["rlp", "900", "300", "52", "7"]);
    }

    #[test]
    fn a_target_is_chosen_by_its_name() {
        assert_eq!(chosen(&[]).unwrap().len(), TARGETS.len());
        let two = chosen(&["rlp".to_owned(), "node".to_owned()]).unwrap();
        assert_eq!((two[0].name, two[1].name), ("rlp", "node"));
        assert!(chosen(&["none".to_owned()]).unwrap_err().to_string().contains("session_frames"));
    }

    #[test]
    fn the_blind_way_takes_a_target_too() {
        assert!(blind(&chosen(&["rlp".to_owned()]).unwrap(), 0).is_ok());
    }
}
