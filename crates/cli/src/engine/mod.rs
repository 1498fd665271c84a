//! `anyudf engine`: our engine on the conformance kit's leash.
//!
//! docs/conformance-engine.md is what this does: one run is one scenario against a worker that is there already, and what
//! the engine tells its caller goes to standard output, one JSON object a line. The engine is used as anybody would use
//! it, by [`anyudf_engine::blocking`]: its session is one object, and what a compiler refuses elsewhere is tried here.
//!
//! ```text
//!   kit ══ Execute, Manage ══ our engine ◀── play ── scenario, told ◀── kit
//!                                             └───── report ──────────▶ kit
//! ```

mod play;
mod report;
mod scenario;

use std::io::stdin;
use std::process::exit;
use std::thread;
use std::time::Duration;

use anyudf_engine::blocking::Engine;
use anyudf_engine::{Endpoint, LaunchConfig, Pipelining, SessionConfig, WorkerConfig};
use clap::Args;

use crate::failure::{Result, say};
use report::{Call, Report, Termination};
use scenario::{Flow, Scenario};

/// No scenario takes this long; one that does has gone wrong, and nobody may be left to end it.
const LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  anyudf conformance --engine -- anyudf engine

docs/conformance-engine.md has all scenarios, and what is reported.")]
pub(crate) struct EngineArguments {
    /// Where the worker listens: a socket's path, or a port
    #[arg(long, value_name = "WHERE")]
    connection: Endpoint,

    /// What to do, such as echo or held/cancel
    #[arg(long, value_name = "NAME")]
    scenario: Scenario,
}

/// Runs `anyudf engine`.
pub(crate) fn engine(arguments: &EngineArguments) -> Result {
    let scenario = arguments.scenario;
    thread::spawn(move || {
        thread::sleep(LIMIT);
        say(format_args!("error: the scenario `{scenario}` was not over within {LIMIT:?}"));
        exit(1);
    });
    let report = Report::default();
    let engine = Engine::new()?;
    match engine.connect(&arguments.connection, None, config(scenario)) {
        Ok(worker) => {
            play::play(scenario, &worker, &report);
            // What was said last is to arrive before this process is gone.
            worker.disconnect();
        }
        // Of this engine's two steps, to connect and to init, the contract knows one.
        Err(error) => {
            report.error(Call::Init, &error);
            report.ended(Termination::TransportFailed, false);
        }
    }
    report.finish()
}

/// The times of the contract.
fn config(scenario: Scenario) -> WorkerConfig {
    let init_timeout = Duration::from_secs(3);
    WorkerConfig {
        launch: LaunchConfig { init_timeout, ..LaunchConfig::default() },
        session: SessionConfig {
            init_timeout,
            cancel_timeout: Duration::from_secs(2),
            idle_limit: scenario.idle_limit.then_some(Duration::from_millis(500)),
            pipelining: if scenario.flow == Flow::Pipelined { Pipelining::IfAnnounced } else { Pipelining::Never },
            ..SessionConfig::default()
        },
        heartbeat_interval: Duration::from_millis(200),
        heartbeat_misses: 3,
        ..WorkerConfig::default()
    }
}

/// Waits until the kit says that it is time. A kit that is gone says so, too: nobody is left to wait for.
fn told() {
    let _ = stdin().read_line(&mut String::new());
}
