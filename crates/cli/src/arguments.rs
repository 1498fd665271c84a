//! The command line: which commands there are, and what they share.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{ArgAction, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::bench::{self, BenchArguments, PeerArguments};
use crate::conformance::{self, ConformanceArguments};
use crate::engine::{self, EngineArguments};
use crate::functions::{self, FunctionsArguments};
use crate::new::{self, NewArguments};
use crate::run::{self, RunArguments};
use crate::spec::{self, SpecArguments};
#[cfg(feature = "sql")]
use crate::sql::{self, SqlArguments};
use crate::worker::{self, WorkerArguments};

/// Run functions that live in processes of their own over files, over Spark's UDF protocol
#[derive(Debug, Parser)]
#[command(name = "anyudf", version, max_term_width = 110, subcommand_required = true, arg_required_else_help = true)]
struct Arguments {
    /// Show what the worker prints; twice, everything. The variable RUST_LOG says it more finely
    #[arg(long, short, global = true, action = ArgAction::Count, display_order = 900)]
    verbose: u8,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one function over one file
    Run(Box<RunArguments>),
    /// Query files, with functions that live in workers
    #[cfg(feature = "sql")]
    Sql(Box<SqlArguments>),
    /// List what a worker offers
    Functions(FunctionsArguments),
    /// Write a crate with a worker of your own
    New(NewArguments),
    /// Serve the bundled functions; this is what an engine starts
    #[command(name = worker::NAME, disable_help_flag = true)]
    Worker(WorkerArguments),
    /// Write or check a worker specification, which --worker takes
    Spec(SpecArguments),
    /// Test any worker against the protocol
    Conformance(Box<ConformanceArguments>),
    /// Be the engine that `conformance --engine` tests
    Engine(EngineArguments),
    /// Measure the data path beside this machine's own limits
    Bench(BenchArguments),
    /// The other end of the raw socket that `bench` measures
    #[command(name = bench::PEER, hide = true)]
    BenchPeer(PeerArguments),
}

/// Does what the command line says. What goes wrong is said on stderr.
pub fn main() -> ExitCode {
    if let Some(arguments) = WorkerArguments::of(std::env::args_os()) {
        return worker::worker(arguments);
    }
    let Arguments { verbose, command } = Arguments::parse();
    let done = match command {
        // With one of our flags before the command.
        Command::Worker(arguments) => return worker::worker(arguments),
        Command::BenchPeer(arguments) => bench::peer(&arguments),
        Command::Run(arguments) => {
            log(verbose);
            run::run(&arguments)
        }
        #[cfg(feature = "sql")]
        Command::Sql(arguments) => {
            log(verbose);
            sql::sql(&arguments)
        }
        Command::Functions(arguments) => {
            log(verbose);
            functions::functions(&arguments)
        }
        Command::New(arguments) => {
            log(verbose);
            new::new(&arguments)
        }
        Command::Spec(arguments) => {
            log(verbose);
            spec::spec(&arguments)
        }
        Command::Conformance(arguments) => {
            log(verbose);
            conformance::conformance(&arguments)
        }
        Command::Engine(arguments) => {
            log(verbose);
            engine::engine(&arguments)
        }
        Command::Bench(arguments) => {
            log(verbose);
            bench::bench(arguments)
        }
    };
    done.map_or_else(|failure| failure.report(), |()| ExitCode::SUCCESS)
}

/// Sends what is logged to stderr: warnings alone, unless asked for more.
fn log(verbose: u8) {
    let usual = match verbose {
        0 => "warn",
        // What the worker prints on its stderr, and tracebacks.
        1 => "info",
        _ => "debug,h2=info,hyper=info,tower=info",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time();
    // What can't be logged is lost, and is no reason to panic: a disk may be full.
    log.log_internal_errors(false).with_ansi(std::io::stderr().is_terminal()).init();
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
