//! libFuzzer over one target, named by the environment variable `FUZZ_TARGET`.
//!
//! All targets share one program, since linking takes longer than the difference in coverage is worth. Its arguments are
//! libFuzzer's. `FUZZ_SEEDS=directory` writes the target's seeds there and ends.

#![no_main]

use std::{env, ffi::OsString, path::Path, process, sync::OnceLock};

use fuzz::Target;

static TARGET: OnceLock<&'static Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: choose(),
    |input: &[u8]| {
        if let Some(target) = TARGET.get() {
            (target.run)(input);
        }
    }
);

fn choose() {
    let name = env::var("FUZZ_TARGET").unwrap_or_default();
    let Some(target) = fuzz::target(&name) else {
        let names: Vec<_> = fuzz::TARGETS.iter().map(|target| target.name).collect();
        eprintln!("FUZZ_TARGET={name:?} is none of: {}", names.join(" "));
        process::exit(2);
    };
    if let Some(directory) = env::var_os("FUZZ_SEEDS") {
        write_seeds(target, &directory);
    }
    TARGET.get_or_init(|| target);
}

fn write_seeds(target: &Target, directory: &OsString) {
    for (n, seed) in target.seeds().iter().enumerate() {
        if let Err(error) = std::fs::write(Path::new(directory).join(format!("seed-{n}")), seed) {
            eprintln!("{}: {error}", directory.display());
            process::exit(2);
        }
    }
    process::exit(0);
}
