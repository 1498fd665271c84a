//! The prompt of `anyudf sql`: statements that are typed, with history and completion.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use anyudf_datafusion::SqlSession;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use rustyline::config::CompletionType;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};

use super::arguments::SqlArguments;
use super::helper::{Helper, is_command};
use super::host::Host;
use super::run;
use super::total::Total;
use crate::failure::{Failure, Result, say};
use crate::files::OutputOptions;
use crate::io::Io;
use crate::run::show_rows;

/// How many lines are remembered.
const REMEMBERED: usize = 10_000;

const GREETING: &str = "A statement ends with `;`. \\? for help, \\q or Ctrl-D to leave.";

/// Without those that tell of others.
const TABLES: &str = "SELECT table_name, table_type FROM information_schema.tables \
                      WHERE table_schema <> 'information_schema' ORDER BY table_name";

const HELP: &str = "\
SELECT … ;    a statement, over as many lines as it takes; FROM takes names and 'paths of files'
\\d            the tables
\\d NAME       the columns of one
\\f            the functions of the workers
\\f NAME       one of them, with all its help
\\q            leave
Ctrl-C cancels what runs, or forgets what was typed. Tab completes names, words of SQL, and files within quotes.";

/// Reads statements and runs them until there are no more. What fails is said, and the next one is asked for.
///
/// # Errors
/// The terminal can't be read.
pub(super) fn prompt(io: &Io, host: &Host, arguments: &SqlArguments) -> Result {
    let mut editor = editor()?;
    let history = history();
    if let Some(history) = &history {
        // The first time there is none.
        let _ = editor.load_history(history);
    }
    say(GREETING);
    loop {
        let names = io.wait(host.names());
        editor.helper_mut().expect("it was given one").names = names;
        let line = {
            let terminal = tcgetattr(io::stdin()).context("standard input is no terminal")?;
            let _resting = io.interrupt().rest(move || {
                let _ = tcsetattr(io::stdin(), OptionalActions::Now, &terminal);
            });
            editor.readline("anyudf> ")
        };
        // One that came just before the guard was there.
        io.interrupt().forget();
        let text = match line {
            Ok(text) => text,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(anyhow::Error::new(error).context("the terminal can't be read").into()),
        };
        let text = text.trim();
        if text.is_empty() {
            continue;
        }
        let _ = editor.add_history_entry(text);
        if let Some(history) = &history
            && let Err(error) = editor.append_history(history)
        {
            tracing::debug!(%error, "the history is not kept");
        }
        let done = match is_command(text) {
            true => match command(io, host, text) {
                Ok(Then::Next) => Ok(()),
                Ok(Then::Leave) => return Ok(()),
                Err(failure) => Err(failure),
            },
            false => statements(io, host, arguments, text),
        };
        match done {
            // Whoever reads our output has gone, and the terminal may still be there.
            Ok(()) | Err(Failure::ReaderGone) => {}
            Err(failure) => drop(failure.report()),
        }
        io.interrupt().forget();
    }
}

fn editor() -> Result<Editor<Helper, FileHistory>> {
    let config = Config::builder().completion_type(CompletionType::List).auto_add_history(false);
    let config = config.max_history_size(REMEMBERED).and_then(|config| config.history_ignore_dups(true));
    let config = config.context("the prompt can't be set up")?.build();
    let mut editor = Editor::with_config(config).context("the terminal can't be set up")?;
    editor.set_helper(Some(Helper::default()));
    Ok(editor)
}

/// The file that remembers what was typed, in a directory that is there; none when nobody says where such files go.
fn history() -> Option<PathBuf> {
    let state = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let directory = state("XDG_STATE_HOME").or_else(|| Some(state("HOME")?.join(".local/state")))?.join("anyudf");
    fs::create_dir_all(&directory).ok()?;
    Some(directory.join("sql_history"))
}

fn statements(io: &Io, host: &Host, arguments: &SqlArguments, text: &str) -> Result {
    for statement in SqlSession::parse(text)? {
        let (began, mut total) = (Instant::now(), Total::begin());
        run(io, host, statement, &arguments.output_options(), &mut total)?;
        match arguments.stats {
            true => total.say(&io.wait(host.stats()), true),
            false => say(format_args!("{} in {:.2} s", show_rows(total.rows()), began.elapsed().as_secs_f64())),
        }
    }
    Ok(())
}

enum Then {
    Next,
    Leave,
}

/// One of the words that are none of SQL's.
fn command(io: &Io, host: &Host, text: &str) -> Result<Then> {
    let mut words = text.trim_end_matches(';').split_whitespace();
    match (words.next().unwrap_or_default(), words.next(), words.next()) {
        ("\\q" | "exit" | "quit", None, None) => return Ok(Then::Leave),
        ("\\?" | "\\h" | "help", None, None) => say(HELP),
        ("\\d", None, None) => describe(io, host, TABLES)?,
        ("\\d", Some(table), None) => describe(io, host, &format!("DESCRIBE {table}"))?,
        ("\\f" | "\\df", None, None) => host.show_functions(None)?,
        ("\\f" | "\\df", Some(name), None) => host.show_functions(Some(name))?,
        _ => return Err(Failure::usage(format_args!("there is no `{text}`; \\? says what there is"))),
    }
    Ok(Then::Next)
}

fn describe(io: &Io, host: &Host, statement: &str) -> Result {
    for statement in SqlSession::parse(statement)? {
        run(io, host, statement, &OutputOptions::default(), &mut Total::begin())?;
    }
    Ok(())
}
