//! Arguments to exit code: 0 done, 1 failed, 2 wrongly called.

use std::{io, num::NonZeroUsize, process::ExitCode, thread};

use causeway::{
    cli::{Cli, Command},
    client::ClientError,
    commands::{self, secret::Misuse},
    config::ConfigError,
    demo,
    dns_tree::{self, InputError},
    export::{self, ExportError},
    history::{self, HistoryError},
    import::{self, SourceError},
    logging,
    output::remark,
    trace::{self, TraceError},
};
use tokio::runtime::{Builder, Runtime};

/// Messages are made on one thread and dropped on another, and gossip looks through all of the last seconds at once, while nothing else moves: with
/// the system's allocator the slowest hundredth of crossings took twice as long.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Wrongly called: the code that clap uses too.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::new(error).context("no threads to run on")),
    };
    let done = runtime.block_on(async {
        match cli.command {
            Command::Bridge(args) => commands::bridge(*args).await,
            Command::Node(args) => commands::node(*args).await,
            Command::Legacy(args) => commands::legacy(*args).await,
            Command::Mailserver(args) => commands::mailserver(*args).await,
            Command::Demo(args) => demo::run(args).await,
            Command::Listen(args) => commands::listen::run(args).await,
            Command::Post(args) => commands::post::run(args).await,
            Command::Key(args) => commands::key::run(args.command),
            Command::Pow(args) => commands::pow::run(args.command).await,
            Command::Trace(args) => trace::run(&args).await,
            Command::History(args) => history::run(args).await,
            Command::Import(args) => import::run(args).await,
            Command::Export(args) => export::run(args).await,
            Command::DnsTree(args) => dns_tree::run(&args),
            Command::Rln(args) => commands::rln::run(args.command).await,
            Command::GenerateRlnKeystore(args) => commands::rln::register(*args).await,
        }
    });
    // Blocking work (mining) of a task that is gone must not hold the exit up.
    runtime.shutdown_background();
    logging::finish();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// Half the cores carry the networks, at least one: the others mine, write the database and verify. A thread that hands work to
/// itself wakes nobody, so that relay costs less than with a thread for each core.
fn runtime() -> io::Result<Runtime> {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    Builder::new_multi_thread().worker_threads((cores / 2).max(1)).enable_all().build()
}

fn failed(error: &anyhow::Error) -> ExitCode {
    remark(format_args!("causeway: {error:#}"));
    let misread =
        matches!(error.downcast_ref(), Some(ClientError::Address(_) | ClientError::Mixed | ClientError::NothingToSign));
    let misread = misread || matches!(error.downcast_ref(), Some(TraceError::Hash(_)));
    let misread = misread || matches!(error.downcast_ref(), Some(ExportError::Time(_) | ExportError::Topic(_)));
    let misread =
        misread || matches!(error.downcast_ref(), Some(SourceError::Unknown(_))) || error.is::<HistoryError>();
    if misread || error.is::<Misuse>() || error.is::<ConfigError>() || error.is::<InputError>() {
        ExitCode::from(USAGE)
    } else {
        ExitCode::FAILURE
    }
}
