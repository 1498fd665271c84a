//! `anyudf conformance`: is a worker, or an engine, what the protocol says, and how fast is a worker?

mod bench;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use anyudf_conformance::{
    BenchConfig, Capabilities, Capability, Case, Colours, Config, Level, Outcome, Report, Selection, engine_cases,
    for_machines, for_people, junit, listed, read_cases, run, summary, worker_cases,
};
use clap::Args;

use crate::failure::{Failure, Result};
use crate::io::Io;
use crate::units;
use bench::BenchFlags;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  anyudf conformance --offer all -- anyudf worker
  anyudf conformance --run execute/cancel --trace -- python3 my_worker.py
  anyudf conformance --engine --offer all -- anyudf engine
  anyudf conformance --list
  anyudf conformance --bench -- python3 my_worker.py

Capabilities say what a worker offers beyond what all must; without any flag these are chunking, concurrent, shutdown, and the
echo functions S1 to S3. docs/conformance.md has the whole list, and says how a worker gets its first green run; docs/conformance-engine.md is for engines.")]
pub(crate) struct ConformanceArguments {
    /// Test an engine instead of a worker: COMMAND starts its driver, and the kit plays the workers
    #[arg(long)]
    engine: bool,

    /// Only these cases; `*` stands for anything, and a name for all below it. May be given several times
    #[arg(long, value_name = "PATTERN", help_heading = "Cases")]
    run: Vec<String>,

    /// Not these
    #[arg(long, value_name = "PATTERN", help_heading = "Cases")]
    skip: Vec<String>,

    /// Only what weighs as much: must, should (musts, too) or choice (all)
    #[arg(long, value_name = "LEVEL", help_heading = "Cases")]
    level: Option<Level>,

    /// Cases of your own, in place of the kit's: a file, or a directory of files
    #[arg(long, value_name = "PATH", help_heading = "Cases")]
    cases: Option<PathBuf>,

    /// List the cases, and run none
    #[arg(long, help_heading = "Cases")]
    list: bool,

    /// Cases that are known to fail, a pattern a line: they are run, and do not count; one that holds is reported
    #[arg(long, value_name = "FILE", help_heading = "Cases")]
    known_failing: Option<PathBuf>,

    /// Something that the implementation offers; `test-functions` for S4 to S6, `all` for everything. May be given several times
    #[arg(long, value_name = "CAPABILITY", help_heading = "Capabilities")]
    offer: Vec<String>,

    /// Something that it does not
    #[arg(long, value_name = "CAPABILITY", help_heading = "Capabilities")]
    without: Vec<Capability>,

    /// Capabilities, and what Init says for each test function (TOML)
    #[arg(long, value_name = "FILE", help_heading = "Capabilities")]
    capabilities: Option<PathBuf>,

    /// How long a case may take that says nothing else; with --bench, how long the worker may be silent
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = units::duration, help_heading = "Running")]
    timeout: Duration,

    /// How long a worker may take until it answers, or a driver until its first sign
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::duration, help_heading = "Running")]
    start_timeout: Duration,

    /// How many cases at the same time, each with a process of its own; as many as there are cores without it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), help_heading = "Running")]
    jobs: Option<u16>,

    /// Run each case so often
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = "Running")]
    repeat: u32,

    /// Show the dialogue of every case, not only of those that fail
    #[arg(long, help_heading = "Output")]
    trace: bool,

    /// Print one JSON object a line
    #[arg(long, conflicts_with = "trace", help_heading = "Output")]
    json: bool,

    /// Write the results to this file as well, as JUnit has them
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    junit: Option<PathBuf>,

    #[command(flatten)]
    bench: BenchFlags,

    /// What starts the worker, `--id ID --connection WHERE` are added to it (P1); or the driver, which gets `--connection
    /// WHERE --scenario NAME`
    #[arg(last = true, required_unless_present = "list", value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs `anyudf conformance`.
pub(crate) fn conformance(arguments: &ConformanceArguments) -> Result {
    if arguments.bench.bench {
        let (program, words) = arguments.command()?;
        let mut config = BenchConfig::new(program, words.iter().cloned());
        config.capabilities = arguments.capabilities()?;
        (config.timeout, config.start_timeout) = (arguments.timeout, arguments.start_timeout);
        return arguments.bench.measure(config, arguments.json);
    }
    let selection = Selection { run: arguments.run.clone(), skip: arguments.skip.clone(), level: arguments.level };
    let cases = match (&arguments.cases, arguments.engine) {
        (Some(path), _) => read_cases(path)?,
        (None, true) => engine_cases(),
        (None, false) if arguments.list => [worker_cases(), engine_cases()].concat(),
        (None, false) => worker_cases(),
    };
    if arguments.list {
        return list(&cases, &selection);
    }
    if let Some(other) = cases.iter().find(|case| case.is_for_engines() != arguments.engine) {
        let (side, hint) = match arguments.engine {
            true => ("workers: it has no `scenario`", "leave `--engine` out"),
            false => ("engines: it has a `scenario`", "add `--engine`"),
        };
        return Err(Failure::usage(format!("`{}` is a case for {side}; {hint}", other.name)));
    }
    let (program, words) = arguments.command()?;
    let mut config = Config::new(program, words.iter().cloned());
    config.capabilities = arguments.capabilities()?;
    (config.cases, config.selection) = (cases, selection);
    config.repeat = arguments.repeat as usize;
    (config.timeout, config.start_timeout) = (arguments.timeout, arguments.start_timeout);
    if let Some(jobs) = arguments.jobs {
        config.jobs = jobs.into();
    }
    if let Some(file) = &arguments.known_failing {
        config.read_known_failing(file)?;
    }
    // Before the run, so that a place that can't be written is known at once.
    let file = arguments
        .junit
        .as_ref()
        .map(|path| File::create(path).with_context(|| format!("can't write {}", path.display())));
    let file = file.transpose()?;
    let reports = arguments.run(config)?;
    if let Some(file) = file {
        let mut file = BufWriter::new(file);
        junit(&reports, &mut file).and_then(|()| file.flush()).context("can't write the JUnit file")?;
    }
    match reports.iter().filter(|report| report.counts()).count() {
        0 => Ok(()),
        1 => Err(Failure::failed("one case fails that must hold")),
        failing => Err(Failure::failed(format_args!("{failing} cases fail that must hold"))),
    }
}

impl ConformanceArguments {
    /// What starts the implementation: its program, and its arguments.
    fn command(&self) -> Result<(&OsString, &[OsString])> {
        Ok(self.command.split_first().context("clap requires a command")?)
    }

    fn capabilities(&self) -> Result<Capabilities> {
        let mut capabilities = Capabilities::default();
        for offer in &self.offer {
            match offer.as_str() {
                "all" => capabilities = Capabilities::everything(),
                "test-functions" => capabilities.offer_test_functions(),
                name => capabilities.offer(name.parse().map_err(Failure::usage)?),
            }
        }
        if let Some(file) = &self.capabilities {
            capabilities.read(file)?;
        }
        self.without.iter().for_each(|capability| capabilities.withdraw(*capability));
        Ok(capabilities)
    }

    fn run(&self, config: Config) -> Result<Vec<Report>> {
        let io = Io::start()?;
        let mut out = io::stdout().lock();
        let colours = if out.is_terminal() { Colours::On } else { Colours::Off };
        let mut said = Ok(());
        // Dropped after a signal, it ends what it has started.
        let reports = io.wait_or_interrupt(run(config, |report| {
            let text = match (self.json, report.outcome) {
                (true, _) => for_machines(report) + "\n",
                // They are counted at the end.
                (false, Outcome::NotRun) => return,
                (false, _) => for_people(report, colours, self.trace),
            };
            if said.is_ok() {
                said = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            }
        }))??;
        said?;
        if !self.json {
            out.write_all(summary(&reports).as_bytes())?;
        }
        Ok(reports)
    }
}

fn list(cases: &[Case], selection: &Selection) -> Result {
    let mut out = io::stdout().lock();
    let (mut workers, mut engines) = (0, 0);
    for case in cases.iter().filter(|case| selection.holds(case)) {
        writeln!(out, "{}", listed(case))?;
        *if case.is_for_engines() { &mut engines } else { &mut workers } += 1;
    }
    match (workers, engines) {
        (workers, 0) => writeln!(out, "{workers} cases for workers")?,
        (0, engines) => writeln!(out, "{engines} cases for engines")?,
        (workers, engines) => writeln!(out, "{workers} cases for workers, {engines} for engines")?,
    }
    Ok(())
}
