//! What every archive keeps to: that in memory, and that in SQLite. For PostgreSQL there is the example `postgres_contract`.

#[path = "contract/mod.rs"]
mod contract;

use archive::Archive;
use contract::{Place, each_case};

fn run<F: Future<Output = ()>>(case: impl FnOnce(Place) -> F, place: Place) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(case(place));
}

fn memory() -> Place {
    Place::new(false, async || Archive::memory())
}

fn sqlite() -> Place {
    let directory = tempfile::tempdir().expect("a folder");
    let file = directory.path().join("archive.sqlite3");
    Place::new(true, move || {
        let (file, _) = (file.clone(), &directory);
        async move { Archive::sqlite(&file).await.expect("it opens") }
    })
}

macro_rules! tests {
    ($($part:ident: $case:ident;)*) => {
        mod in_memory {
            use super::*;
            $(#[test] fn $case() { run(contract::$part::$case, memory()); })*
        }
        mod in_sqlite {
            use super::*;
            $(#[test] fn $case() { run(contract::$part::$case, sqlite()); })*
        }
    };
}

each_case!(tests);
