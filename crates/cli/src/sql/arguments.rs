//! What `anyudf sql` can be told.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::failure::Result;
use crate::files::{Format, OutputOptions};
use crate::start::{PoolArguments, Start};
use crate::units;

/// How many processes a worker may have. They are started as sessions need them: each partition has one for each of its
/// calls, and a worker that announces it serves many in one process.
const MOST_WORKERS: usize = 64;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  anyudf sql \"SELECT origin, avg(delay) FROM 'flights.parquet' GROUP BY origin\"
  anyudf sql --worker geo='python3 my_worker.py' \"SELECT geo.area(shape) FROM 'shapes/*.csv'\" --output areas.parquet
  anyudf functions    # what the bundled worker has; its functions need no flag

  anyudf sql         # a prompt, with history and completion

FROM takes the path of a file in quotes, a directory, a pattern, or a name that --table has given.")]
pub(crate) struct SqlArguments {
    /// Statements, with `;` between; `-` for standard input. Without it, there is a prompt, or what comes through a pipe
    #[arg(value_name = "QUERY")]
    pub(super) query: Option<String>,

    /// A file of statements, in place of QUERY
    #[arg(long, short, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,

    /// A name for a file or a pattern of files, to be used in FROM; may be given several times
    #[arg(long = "table", value_name = "NAME=PATH", value_parser = table)]
    pub(super) tables: Vec<(String, String)>,

    /// A worker whose functions can be called, by its command line or its specification; may be given several times. With
    /// NAME its functions are called NAME.function
    ///
    /// A command line is split as a shell would, and run without one. The bundled functions are there all the same, also as bundled.NAME.
    #[arg(long = "worker", value_name = "[NAME=]COMMAND LINE|FILE", help_heading = "Worker")]
    pub(super) workers: Vec<String>,

    #[command(flatten)]
    pub(super) pool: PoolArguments,

    /// How long each call into a function may take
    #[arg(long, value_name = "TIME", value_parser = units::duration, help_heading = "Worker")]
    pub(super) call_timeout: Option<Duration>,

    /// How many partitions a plan has, which run at the same time; as many as there are processors without it
    #[arg(long, short, value_name = "N")]
    pub(super) jobs: Option<NonZeroUsize>,

    /// Where the result goes, `-` for standard output; without it, the first rows are shown as a table
    ///
    /// A file appears when everything is written, and not before.
    #[arg(long, short, value_name = "FILE", help_heading = "Files")]
    output: Option<PathBuf>,

    /// Replace an output file that is there already
    #[arg(long, help_heading = "Files")]
    force: bool,

    /// The format of the output: parquet, csv, tsv, ndjson, arrow, arrows; told by its name without it
    #[arg(long, value_name = "FORMAT", help_heading = "Files")]
    output_format: Option<Format>,

    /// Say at the end what it took, also where stderr is no terminal
    #[arg(long)]
    pub(super) stats: bool,
}

/// A worker that was named, and what its functions are called by.
#[derive(Debug)]
pub(super) struct NamedWorker {
    pub(super) schema: Option<String>,
    pub(super) start: Start,
}

impl SqlArguments {
    pub(super) fn output_options(&self) -> OutputOptions {
        OutputOptions { path: self.output.clone(), format: self.output_format, force: self.force }
    }

    pub(super) fn jobs(&self) -> usize {
        self.jobs.map_or_else(|| std::thread::available_parallelism().map_or(1, NonZeroUsize::get), NonZeroUsize::get)
    }

    /// The workers that were named, in that order. Nothing is started yet.
    ///
    /// # Errors
    /// Those of [`PoolArguments::start`].
    pub(super) fn workers(&self) -> Result<Vec<NamedWorker>> {
        let named = |line: &String| {
            let (schema, line) = schema_of(line);
            Ok(NamedWorker { schema: schema.map(String::from), start: self.pool.start(Some(line), MOST_WORKERS)? })
        };
        self.workers.iter().map(named).collect()
    }

    /// The worker of the bundled functions.
    ///
    /// # Errors
    /// Those of [`PoolArguments::start`].
    pub(super) fn bundled(&self) -> Result<Start> {
        self.pool.start(None, MOST_WORKERS)
    }
}

/// What stands before the first `=` of a worker, when that can be a name: a path or a flag can't.
fn schema_of(line: &str) -> (Option<&str>, &str) {
    match line.split_once('=') {
        Some((name, rest)) if is_name(name) => (Some(name), rest),
        _ => (None, line),
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

fn table(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, path)) if is_name(name) && !path.is_empty() => Ok((name.into(), path.into())),
        _ => Err("it is written NAME=PATH, and NAME has letters, digits and `_`".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_may_have_a_name() {
        for (line, schema, rest) in [
            ("python3 worker.py", None, "python3 worker.py"),
            ("geo=python3 worker.py --x=1", Some("geo"), "python3 worker.py --x=1"),
            ("python3 worker.py --x=1", None, "python3 worker.py --x=1"),
            ("./my=worker", None, "./my=worker"),
            ("geo=worker.json", Some("geo"), "worker.json"),
        ] {
            assert_eq!(schema_of(line), (schema, rest), "{line}");
        }
    }

    #[test]
    fn a_table_has_a_name_and_a_path() {
        assert_eq!(table("f=dir/*.csv"), Ok(("f".into(), "dir/*.csv".into())));
        for wrong in ["f", "=x", "f=", "a b=x", "1=x"] {
            assert!(table(wrong).is_err(), "{wrong}");
        }
    }
}
