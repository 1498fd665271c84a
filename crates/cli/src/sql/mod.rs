//! `anyudf sql`: queries over files, with functions that live in workers.
//!
//! DataFusion plans and runs them, in this process; `anyudf-datafusion` is where it is known. All partitions run on one
//! runtime, which also reads and writes the workers' sockets; the results are written on the main thread, which is also the one
//! that reads what is typed at the prompt.

mod arguments;
mod explain;
mod helper;
mod host;
mod prompt;
mod total;
mod watch;

use std::fs;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use anyhow::Context as _;
use anyudf_datafusion::{SqlError, SqlSession, Statement};

pub(crate) use arguments::SqlArguments;
use host::Host;
use total::Total;
use watch::Watch;

use crate::failure::{Failure, Result};
use crate::files::OutputOptions;
use crate::io::Io;

/// Runs `anyudf sql`.
pub(crate) fn sql(arguments: &SqlArguments) -> Result {
    // An early answer; it is looked at again when it is made.
    arguments.output_options().check()?;
    let task = Task::of(arguments)?;
    let workers = arguments.workers()?;
    let io = Io::start_parallel(arguments.jobs())?;
    let mut host = io.wait_or_interrupt(Host::new(workers, arguments))??;
    let done = io.wait_or_interrupt(host.register(arguments)).flatten().and_then(|()| match task {
        Task::Prompt => prompt::prompt(&io, &host, arguments),
        Task::Run(statements) => all(&io, &host, statements, arguments),
    });
    match done {
        Ok(()) => {
            io.wait(host.end());
            Ok(())
        }
        Err(failure) => {
            io.wait_unless_insisted(host.abandon());
            Err(failure)
        }
    }
}

/// What there is to do.
enum Task {
    Run(Vec<Statement>),
    /// Ask whoever sits at the terminal.
    Prompt,
}

impl Task {
    /// The argument, a file, standard input, or, when that is a terminal, what is typed there.
    fn of(arguments: &SqlArguments) -> Result<Self> {
        let text = match (arguments.query.as_deref(), arguments.file.as_deref()) {
            (Some("-"), None) => standard_input()?,
            (Some(query), None) => query.to_owned(),
            (None, Some(file)) if file == Path::new("-") => standard_input()?,
            (None, Some(file)) => fs::read_to_string(file)
                .map_err(|error| Failure::usage(format_args!("cannot read {}: {error}", file.display())))?,
            (None, None) if !io::stdin().is_terminal() => standard_input()?,
            // A result that goes to a file or a pipe has no place for a prompt.
            (None, None) if io::stdout().is_terminal() && arguments.output_options().is_table() => {
                return Ok(Task::Prompt);
            }
            (None, None) => {
                return Err(Failure::usage(
                    "give a query, as in anyudf sql \"SELECT 1\", or a file of them with --file",
                ));
            }
            (Some(_), Some(_)) => return Err(Failure::usage("a query and --file are one too many")),
        };
        let statements = SqlSession::parse(&text)?;
        let giving = statements.iter().filter(|statement| statement.gives_rows()).count();
        if giving != 1 && !statements.is_empty() && !arguments.output_options().is_table() {
            let what = if giving == 0 {
                "none of the statements gives rows".into()
            } else {
                format!("{giving} statements give rows")
            };
            return Err(Failure::usage(format_args!("{what}, and an output takes those of one")));
        }
        match statements {
            none if none.is_empty() => Err(Failure::usage("there is no statement; try anyudf sql \"SELECT 1\"")),
            statements => Ok(Task::Run(statements)),
        }
    }
}

/// All statements, one after the other, and what they took.
fn all(io: &Io, host: &Host, statements: Vec<Statement>, arguments: &SqlArguments) -> Result {
    let mut total = Total::begin();
    for statement in statements {
        run(io, host, statement, &arguments.output_options(), &mut total)?;
    }
    if arguments.stats || io::stderr().is_terminal() {
        total.say(&io.wait(host.stats()), arguments.stats);
    }
    Ok(())
}

fn standard_input() -> Result<String> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).context("standard input can't be read")?;
    Ok(text)
}

/// One statement, to its end.
fn run(io: &Io, host: &Host, statement: Statement, output: &OutputOptions, total: &mut Total) -> Result {
    let (is_explain, gives_rows) = (statement.is_explain() && output.is_table(), statement.gives_rows());
    let mut rows = io.wait_or_interrupt(host.session().run(statement))??;
    let mut watch = Watch::new(rows.progress());
    let written = match rows.schema() {
        // What it does, it does while it is read.
        schema if schema.fields().is_empty() => {
            while io.wait_or_interrupt(watch.next(&mut rows))??.is_some() {}
            Ok(0)
        }
        _ if is_explain => {
            let mut plans = Vec::new();
            while let Some(batch) = io.wait_or_interrupt(watch.next(&mut rows))?? {
                plans.push(batch);
            }
            explain::print(&plans).map(|()| 0)
        }
        schema => {
            // What COPY says of how it went is for people.
            let mut output =
                if gives_rows { output.create(schema)? } else { OutputOptions::default().create(schema)? };
            while let Some(batch) = io.wait_or_interrupt(watch.next(&mut rows))?? {
                output.write(&batch)?;
            }
            watch.clear();
            Ok(output.commit()?.rows)
        }
    };
    total.add(written?, watch.progress());
    Ok(())
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        match (error.is_statement(), error.condition()) {
            (_, Some("TABLE_NOT_FOUND")) => {
                Failure::usage(format_args!("{error}, and --table NAME=PATH gives one a name"))
            }
            (_, Some("CALL_TIMEOUT")) => Failure::failed(format_args!("{error}; --call-timeout sets the limit")),
            (_, Some("POOL_TIMEOUT")) => Failure::failed(format_args!("{error}; --jobs 1 has one partition")),
            (_, Some("FUNCTION_EXISTS")) => Failure::failed(format_args!("{error}, with --worker NAME=…")),
            (true, _) => Failure::usage(error),
            (false, _) => Failure::failed(error),
        }
    }
}
