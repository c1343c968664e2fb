//! What every archive keeps to, against a PostgreSQL that runs: `cargo run -p archive --example postgres_contract -- URL`.
//!
//! The URL names a server and a database in which others may be made; each case has one of its own, which is dropped in the end.
//! Prints the name of each case that holds, and ends with 0 only if all do.

#[path = "../tests/contract/mod.rs"]
mod contract;
#[path = "../tests/contract_shared/mod.rs"]
mod shared;

use std::{panic::AssertUnwindSafe, process::ExitCode, thread};

use archive::Archive;
use contract::{Place, each_case, rows::NOW};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::runtime::Runtime;

type Case = fn(&str);

macro_rules! list {
    ($($part:ident: $case:ident;)*) => {
        &[$((stringify!($case), (|url| in_one(url, contract::$part::$case)) as Case),)*]
    };
}

/// Those of every engine.
const COMMON: &[(&str, Case)] = each_case!(list);

/// Those of several nodes at one database.
const SHARED: &[(&str, Case)] = &[
    ("several_nodes_keep_each_row_once", |url| run(shared::several_nodes_keep_each_row_once(url.to_owned()))),
    ("retention_of_several_nodes_runs_once", |url| run(shared::retention_of_several_nodes_runs_once(url.to_owned()))),
    ("days_are_made_by_the_clock_and_not_by_rows", |url| {
        run(shared::days_are_made_by_the_clock_and_not_by_rows(url.to_owned()))
    }),
    ("what_is_older_than_the_days_is_refused", |url| {
        run(shared::what_is_older_than_the_days_is_refused(url.to_owned()))
    }),
    ("a_lost_connection_is_made_again", |url| run(shared::a_lost_connection_is_made_again(url.to_owned()))),
    ("a_reader_holds_up_no_writer", |url| run(shared::a_reader_holds_up_no_writer(url.to_owned()))),
    ("f23_a_later_schema_is_refused", |url| run(shared::f23_a_later_schema_is_refused(url.to_owned()))),
];

fn main() -> ExitCode {
    let Some(server) = std::env::args().nth(1) else {
        eprintln!("postgres_contract: name a PostgreSQL, postgres://USER@HOST/DATABASE");
        return ExitCode::FAILURE;
    };
    let (mut passed, mut failed) = (0, 0);
    for (place, (name, case)) in COMMON.iter().chain(SHARED).enumerate() {
        let held = with_database(&server, &format!("contract_{}_{place}", std::process::id()), *case);
        println!("{name}: {}", if held { "holds" } else { "FAILED" });
        *if held { &mut passed } else { &mut failed } += 1;
    }
    println!("{passed} hold, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a case in a database of its own; whether it held.
fn with_database(server: &str, name: &str, case: Case) -> bool {
    let command = |text: String| {
        run(async {
            let mut connection = PgConnection::connect(server).await.expect("the server answers");
            sqlx::query(AssertSqlSafe(text)).execute(&mut connection).await.expect("it lets databases be made");
            connection.close().await.expect("it lets go");
        });
    };
    command(format!("CREATE DATABASE {name}"));
    let url = of_database(server, name);
    let held = thread::spawn(move || std::panic::catch_unwind(AssertUnwindSafe(|| case(&url))).is_ok());
    let held = held.join().unwrap_or(false);
    command(format!("DROP DATABASE {name} WITH (FORCE)"));
    held
}

/// The URL of another database at the same server.
fn of_database(server: &str, name: &str) -> String {
    let (server, options) =
        server.split_once('?').map_or((server, String::new()), |(server, rest)| (server, format!("?{rest}")));
    let host = server.rfind('/').map_or(server, |end| &server[..end]);
    format!("{host}/{name}{options}")
}

fn in_one<F: Future<Output = ()>>(url: &str, case: impl FnOnce(Place) -> F) {
    let url = url.to_owned();
    run(case(Place::new(true, move || {
        let url = url.clone();
        async move { Archive::postgres(&url, 4, NOW).await.expect("the archive opens") }
    })));
}

fn run<F: Future<Output = ()>>(case: F) {
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(case);
    runtime.shutdown_background();
}
