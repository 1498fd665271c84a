//! `anyudf spec`: writes a worker specification, and says what is wrong with one.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use anyudf_engine::{DEFAULT_MAX_TIMEOUT, Transport, WorkerPlan, WorkerSpecification};
use clap::{Args, Subcommand};

use crate::failure::{Failure, Result, unprinted};
use crate::files;
use crate::units;

/// More than this on standard input is no specification.
const MAX_BYTES: u64 = 1 << 20;

#[derive(Debug, Args)]
pub(crate) struct SpecArguments {
    #[command(subcommand)]
    command: SpecCommand,
}

#[derive(Debug, Subcommand)]
enum SpecCommand {
    /// Write one, for the worker that a command line starts
    New(Box<NewArguments>),
    /// Say whether one is good, or what is wrong with it
    Check(CheckArguments),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  anyudf spec new --reuse --concurrent --output worker.json -- anyudf worker
  anyudf spec new --env PYTHONUNBUFFERED=1 --install 'pip install my-worker' \\
                  --verify 'python3 -c \"import my_worker\"' -- python3 -m my_worker
  anyudf run --worker worker.json --function echo_batches --input in.csv --output out.parquet")]
struct NewArguments {
    /// The worker listens on a TCP port, in place of a Unix socket
    #[arg(long)]
    tcp: bool,

    /// A process may serve another session when one has ended
    #[arg(long)]
    reuse: bool,

    /// A process serves several sessions at once
    #[arg(long)]
    concurrent: bool,

    /// How long the worker may take until it answers; 10s without it, and an engine has a maximum, mostly 30s
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    init_timeout: Option<Duration>,

    /// How long the worker may take to end when it is asked to; 5s without it, with the same maximum
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    termination_timeout: Option<Duration>,

    /// A variable for the worker; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,

    /// What installs the worker, a command line; it is split as a shell would, and run without one
    #[arg(long, value_name = "COMMAND LINE", help_heading = "Environment")]
    install: Option<String>,

    /// What ends with exit status 0 when there is nothing to install
    #[arg(long, value_name = "COMMAND LINE", requires = "install", help_heading = "Environment")]
    verify: Option<String>,

    /// What takes away what was installed, after the last worker
    #[arg(long, value_name = "COMMAND LINE", help_heading = "Environment")]
    cleanup: Option<String>,

    /// Where the specification goes; standard output without it
    #[arg(long, short, value_name = "FILE", help_heading = "Files")]
    output: Option<PathBuf>,

    /// Replace a file that is there already
    #[arg(long, help_heading = "Files")]
    force: bool,

    /// What starts the worker; `--id ID --connection WHERE` are added to it
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

#[derive(Debug, Args)]
struct CheckArguments {
    /// The specification, `-` for standard input
    file: PathBuf,
}

/// Runs `anyudf spec`.
pub(crate) fn spec(arguments: &SpecArguments) -> Result {
    match &arguments.command {
        SpecCommand::New(arguments) => new(arguments),
        SpecCommand::Check(CheckArguments { file }) => check(file),
    }
}

fn new(arguments: &NewArguments) -> Result {
    let specification = arguments.specification()?;
    let faults = specification.faults();
    if !faults.is_empty() {
        return Err(Failure::usage(lines("what this would write can't be used", &faults)));
    }
    let output = arguments.output.as_deref().unwrap_or(Path::new("-"));
    Ok(files::write_text(output, &specification.to_json(), arguments.force)?)
}

impl NewArguments {
    fn specification(&self) -> Result<WorkerSpecification> {
        let (program, words) = self.command.split_first().context("clap requires a command")?;
        let mut specification = WorkerSpecification::new(program, words);
        if self.tcp {
            specification = specification.with_transport(Transport::Tcp);
        }
        if self.reuse {
            specification = specification.with_reuse();
        }
        if self.concurrent {
            specification = specification.with_concurrent_udfs();
        }
        if let Some(timeout) = self.init_timeout {
            specification = specification.with_initialization_timeout(timeout);
        }
        if let Some(timeout) = self.termination_timeout {
            specification = specification.with_graceful_termination_timeout(timeout);
        }
        for (place, variable) in self.env.iter().enumerate() {
            // By its place, because all of it may be a value (D13).
            let Some((name, value)) = variable.split_once('=') else {
                return Err(Failure::usage(format_args!("--env {} has no `=`; write NAME=VALUE", place + 1)));
            };
            specification = specification.with_variable(name, value);
        }
        if let Some(line) = &self.install {
            let (program, words) = words_of("--install", line)?;
            specification = specification.with_installation(program, words);
        }
        if let Some(line) = &self.verify {
            let (program, words) = words_of("--verify", line)?;
            specification = specification.with_verification(program, words);
        }
        if let Some(line) = &self.cleanup {
            let (program, words) = words_of("--cleanup", line)?;
            specification = specification.with_cleanup(program, words);
        }
        Ok(specification)
    }
}

/// The words of a command line, the first apart.
fn words_of(flag: &str, line: &str) -> Result<(String, Vec<String>)> {
    let Some(mut words) = shlex::split(line) else {
        return Err(Failure::usage(format_args!("{flag} has a quote that is not closed, or ends in a backslash")));
    };
    match words.is_empty() {
        true => Err(Failure::usage(format_args!("{flag} is empty; give a command line"))),
        false => Ok((words.remove(0), words)),
    }
}

fn check(file: &Path) -> Result {
    let (name, specification) = match file == Path::new("-") {
        true => ("standard input".into(), read_stdin()?),
        false => (file.display().to_string(), WorkerSpecification::read(file)?),
    };
    let faults = specification.faults();
    if !faults.is_empty() {
        return Err(Failure::failed(lines(&format!("{name} can't be used"), &faults)));
    }
    let plan = specification.plan(DEFAULT_MAX_TIMEOUT)?;
    writeln!(io::stdout(), "{name} is a good worker specification: {}", summary(&plan)).map_err(unprinted)
}

fn read_stdin() -> Result<WorkerSpecification> {
    let mut bytes = Vec::new();
    io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes).context("can't read standard input")?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Failure::failed("standard input has more than 1 MiB, which no specification has"));
    }
    let text = String::from_utf8(bytes).map_err(|_| Failure::failed("standard input is not UTF-8"))?;
    Ok(WorkerSpecification::from_json(&text)?)
}

/// Faults under a headline, one a line.
fn lines(headline: &str, faults: &[impl std::fmt::Display]) -> String {
    faults.iter().fold(format!("{headline} (D1):"), |text, fault| format!("{text}\n  {fault}"))
}

/// The program's name, and no other word of it (D13).
fn summary(plan: &WorkerPlan) -> String {
    let place = match plan.config.transport {
        Transport::Unix => "a Unix socket",
        Transport::Tcp => "a TCP port",
    };
    let sessions = match (plan.supports_concurrent_udfs, plan.supports_reuse) {
        (true, true) => "serves several sessions at once and goes on to others",
        (true, false) => "serves several sessions at once, and no others after them",
        (false, true) => "serves one session after another",
        (false, false) => "serves one session a process",
    };
    let (program, config) = (plan.runner.program.display(), &plan.config);
    let (start, end) = (config.init_timeout, config.termination_timeout);
    let parts = [
        ("installation", &plan.environment.installation),
        ("verification", &plan.environment.verification),
        ("clean-up", &plan.environment.cleanup),
    ];
    let parts: Vec<_> = parts.iter().filter_map(|(name, part)| part.as_ref().map(|_| *name)).collect();
    let environment = if parts.is_empty() { String::new() } else { format!("; with {}", parts.join(", ")) };
    format!("`{program}` on {place}, with {start:?} to start and {end:?} to end, {sessions}{environment}")
}
