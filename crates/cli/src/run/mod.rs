//! `anyudf run`: one function over one file.
//!
//! A scalar function is split over several sessions, since that cannot change its answer: only its arguments travel,
//! the rows stay here and are paired with their results again, in order. Other functions get the rows of one session
//! unless `--jobs` asks for more, and what they return is the result.

mod announced;
mod arguments;
mod blame;
mod collector;
mod crew;
mod feeder;
mod flow;
mod pairing;
mod pipeline;
mod plan;
mod progress;
mod repeater;
mod turn;

use std::cell::Cell;
use std::io::{self, IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use anyudf_engine::{Dispatcher, OpenSession, Summary};
use arrow::datatypes::{Schema, SchemaRef};

use announced::check_same;
use arguments::Columns;
pub(crate) use arguments::RunArguments;
use blame::blamed;
use crew::Crew;
use pipeline::{Pipe, Pipeline};
use plan::{Call, Plan, widened};
#[cfg(feature = "sql")]
pub(crate) use progress::show_rows;
pub(crate) use progress::{Bar, Stats, show_dispatcher};
use repeater::ATTEMPTS;

use crate::catalog::{Catalog, Kind};
use crate::failure::{Failure, Result, say, unprinted};
use crate::files::{Input, InputOptions, OutputOptions};
use crate::io::Io;

/// Each job is two threads here and one or two in a worker.
const MOST_JOBS: usize = 1_024;

/// Runs `anyudf run`.
pub(crate) fn run(arguments: &RunArguments) -> Result {
    let start = arguments.worker.start(arguments.most_jobs())?;
    let start = if arguments.repeatable { start.patient() } else { start };
    let output = arguments.output_options();
    // An early answer; it is looked at again when it is made.
    output.check()?;
    let input = arguments.open_input()?;
    let io = Io::start()?;
    let began = Instant::now();
    // It is made where there is a runtime.
    let crew = io.wait(async { Crew::new(start) })?;
    match run_with(arguments, &io, &crew, input, &output, began) {
        Ok(()) => {
            io.wait(crew.end());
            Ok(())
        }
        Err(failure) => {
            io.wait_unless_insisted(crew.abandon());
            Err(failure)
        }
    }
}

fn run_with(
    arguments: &RunArguments,
    io: &Io,
    crew: &Crew,
    input: Option<Input>,
    output_options: &OutputOptions,
    began: Instant,
) -> Result {
    let plan = Arc::new(io.wait_or_interrupt(make_plan(arguments, crew, input.as_ref()))??);
    let jobs = arguments.jobs(plan.kind)?;
    // One that may be repeated has a session for each batch, and this one only to learn what it returns.
    let opened = match arguments.repeatable {
        true => io.wait_or_interrupt(Dispatcher::repeat(ATTEMPTS, |_| crew.open(&plan.init, 1)))?,
        false => io.wait_or_interrupt(crew.open(&plan.init, jobs))?,
    };
    let sessions = opened.map_err(|error| blamed(&plan.function, &error, ""))?;
    let pipes = sessions.into_iter().map(pipe).collect::<Result<Vec<_>>>()?;
    let result = pipes.first().map(|pipe| Arc::clone(pipe.output.schema())).context("no session was opened")?;
    pipes.iter().try_for_each(|pipe| check_same(&plan.function, &result, pipe.output.schema()))?;
    let schema = arguments.output_schema(&plan, input.as_ref(), &result)?;
    // A sink returns no rows; its result is what it says at the end.
    let is_sink = schema.fields().is_empty();
    if is_sink && arguments.output.is_some() {
        return Err(Failure::usage(format_args!(
            "function `{}` returns no rows, so there is nothing to write; leave --output out, its result is printed",
            plan.function
        )));
    }
    let mut output = if is_sink { None } else { Some(output_options.create(Arc::clone(&schema))?) };
    let bar = Bar::new(input.as_ref());
    let mut pipeline = match (arguments.repeatable, input) {
        (true, Some(input)) => {
            drop(pipes);
            Pipeline::start_repeatable(io, &plan, crew.dispatcher(), jobs, input, (&result, &schema))?
        }
        (_, input) => Pipeline::start(io, Arc::clone(&plan), pipes, input, schema)?,
    };
    let rows_out = Cell::new(0);
    let written = pipeline.write_all(
        io,
        |rows| {
            rows_out.set(rows_out.get() + rows.num_rows() as u64);
            output.as_mut().map_or(Ok(()), |output| Ok(output.write(rows)?))
        },
        // Only a scalar function's rows out tell how far its rows in are through.
        |rows_read| bar.show(if plan.kind == Kind::Scalar { rows_out.get() } else { rows_read.max(rows_out.get()) }),
    );
    bar.clear();
    let summaries = written?;
    if let Some(output) = output {
        output.commit()?;
    }
    print_results(&summaries, is_sink)?;
    if arguments.stats || io::stderr().is_terminal() || tracing::enabled!(tracing::Level::INFO) {
        let workers = io.wait(crew.stats());
        say(Stats::take(began, pipeline.rows_read(), rows_out.get(), &workers));
        if arguments.stats {
            say(show_dispatcher(&workers));
        }
    }
    Ok(())
}

fn only_scalar(name: &str, kind: Kind) -> String {
    format!(
        "function `{name}` is of kind {kind}, and --repeatable runs each batch by itself, which could change what such a \
         function returns; leave --repeatable out"
    )
}

fn pipe(session: OpenSession) -> Result<Pipe> {
    let control = session.control();
    let (input, output) = session.batches()?;
    Ok(Pipe { control, input, output })
}

/// What sinks have to say: text as it is, else as bytes in hexadecimal.
fn print_results(summaries: &[Summary], is_sink: bool) -> Result {
    let mut out = io::stdout().lock();
    for data in summaries.iter().filter(|_| is_sink).filter_map(|summary| summary.data.as_ref()) {
        let printed = match std::str::from_utf8(data) {
            Ok(text) => writeln!(out, "{text}"),
            Err(_) => writeln!(out, "{}", data.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        };
        printed.map_err(unprinted)?;
    }
    out.flush().map_err(unprinted)
}

/// Looks the function up, and plans how it is called.
async fn make_plan(arguments: &RunArguments, crew: &Crew, input: Option<&Input>) -> Result<Plan> {
    let call = Call {
        function: &arguments.function,
        columns: arguments.args.as_ref().map(|Columns(names)| &names[..]),
        options: arguments.options.as_deref(),
        timeout: arguments.call_timeout,
        timezone: arguments.timezone.as_deref(),
    };
    let catalog = Catalog::read(crew.dispatcher()).await?;
    let function = match &catalog {
        Some(catalog) => Some(catalog.find(&arguments.function)?),
        None => None,
    };
    let kind = function.map_or(arguments.kind.unwrap_or(Kind::Map), |function| function.kind);
    if let Some(asked) = arguments.kind.filter(|&asked| asked != kind) {
        return Err(Failure::usage(format_args!(
            "function `{}` is of kind {kind}, not {asked}; leave --kind out",
            arguments.function
        )));
    }
    arguments.check(kind, input.is_some())?;
    let empty = Arc::new(Schema::empty());
    let schema = input.map_or(&empty, Input::schema);
    match function {
        Some(function) => Plan::new(&call, function, schema),
        None => Plan::unchecked(&call, kind, schema),
    }
}

impl RunArguments {
    fn open_input(&self) -> Result<Option<Input>> {
        let options = InputOptions {
            format: self.input_format,
            batch_rows: self.batch_rows.get(),
            types: self.types.clone(),
            ..InputOptions::default()
        };
        Ok(self.input.as_deref().map(|path: &Path| Input::open(path, &options)).transpose()?)
    }

    fn output_options(&self) -> OutputOptions {
        OutputOptions { path: self.output.clone(), format: self.output_format, force: self.force }
    }

    /// Whether what was typed makes sense for a function of this kind.
    fn check(&self, kind: Kind, has_input: bool) -> Result {
        let name = &self.function;
        let refuse = |text: String| Err(Failure::usage(text));
        match kind {
            Kind::Table if has_input => refuse(format!("function `{name}` makes its own rows; leave --input out")),
            Kind::Table if self.args.is_some() => {
                refuse(format!("function `{name}` takes no columns; leave --args out"))
            }
            Kind::Table if self.repeatable => refuse(only_scalar(name, kind)),
            Kind::Table => Ok(()),
            Kind::Map | Kind::Aggregate if self.repeatable => refuse(only_scalar(name, kind)),
            _ if !has_input => {
                refuse(format!("function `{name}` needs rows; name a file with --input, or `-` for standard input"))
            }
            Kind::Map | Kind::Aggregate if self.name.is_some() => {
                refuse(format!("function `{name}` returns rows of its own and adds no column; leave --as out"))
            }
            _ => Ok(()),
        }
    }

    /// How many sessions there can be at once.
    fn most_jobs(&self) -> usize {
        self.jobs.map_or_else(|| std::thread::available_parallelism().map_or(1, NonZeroUsize::get), NonZeroUsize::get)
    }

    fn jobs(&self, kind: Kind) -> Result<usize> {
        match (kind, self.jobs) {
            (Kind::Table, Some(jobs)) if jobs.get() > 1 => Err(Failure::usage(format_args!(
                "function `{}` makes its own rows, which --jobs can't split; leave --jobs out",
                self.function
            ))),
            (_, Some(jobs)) if jobs.get() > MOST_JOBS => Err(Failure::usage(format_args!(
                "--jobs {jobs} is more than {MOST_JOBS}; more than there are processors only costs memory"
            ))),
            (_, Some(jobs)) => Ok(jobs.get()),
            (Kind::Scalar, None) => Ok(self.most_jobs()),
            (_, None) => Ok(1),
        }
    }

    /// The schema of what is written.
    fn output_schema(&self, plan: &Plan, input: Option<&Input>, result: &SchemaRef) -> Result<SchemaRef> {
        let (Kind::Scalar, Some(input)) = (plan.kind, input) else { return Ok(Arc::clone(result)) };
        let [field] = &result.fields()[..] else {
            return Err(Failure::failed(format_args!(
                "function `{}` returns {} columns, and a scalar function returns one; try --kind map",
                plan.function,
                result.fields().len()
            )));
        };
        widened(input.schema(), self.name.as_deref().unwrap_or(&self.function), field)
    }
}
