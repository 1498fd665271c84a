//! Why a statement gave no rows, in words for whoever wrote it.

use std::fmt;

use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;

use crate::Error;

/// Why a statement gave no rows, and when it was found out.
#[derive(Debug)]
pub struct SqlError {
    planned: bool,
    error: DataFusionError,
}

impl SqlError {
    /// It is the statement that can't be done, found before anything was; otherwise data, a file or a function failed.
    pub fn is_statement(&self) -> bool {
        // A file that is not what its name says is found while the statement is planned.
        !self.planned && !text(&self.error).contains(UNREAD)
    }

    /// The stable name of what happened, when it was a worker or a function that it happened to, or a table that is not there
    /// (`TABLE_NOT_FOUND`).
    pub fn condition(&self) -> Option<&str> {
        match Error::of(&self.error) {
            Some(error) => Some(error.condition()),
            None => missing_table(&self.error).map(|_| "TABLE_NOT_FOUND"),
        }
    }

    /// Found while it was planned, unless a worker had to be asked for that and failed.
    pub(super) fn of_statement(error: DataFusionError) -> Self {
        let planned = Error::of(&error).is_some_and(|error| error.execution().is_some());
        SqlError { planned, error }
    }

    pub(super) fn of_rows(error: DataFusionError) -> Self {
        SqlError { planned: true, error }
    }
}

/// What is said of files whose columns can't be told.
pub(super) const UNREAD: &str = " can't be told: ";

/// The name of a table that is not there, if that is what is wrong.
fn missing_table(error: &DataFusionError) -> Option<&str> {
    let DataFusionError::Plan(text) = error.find_root() else { return None };
    let name = text.strip_prefix("table '")?.strip_suffix("' not found")?;
    Some(name.strip_prefix("datafusion.public.").unwrap_or(name))
}

impl fmt::Display for SqlError {
    /// What a worker or a function says stands by itself, and so does what is wrong with a statement: which part of DataFusion
    /// found it helps nobody.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(error) = Error::of(&self.error) {
            return error.fmt(f);
        }
        if let Some(name) = missing_table(&self.error) {
            return write!(
                f,
                "there is no table `{name}`; a file is named by its path in quotes, as in FROM '{name}.parquet'"
            );
        }
        f.write_str(&text(&self.error))
    }
}

fn text(error: &DataFusionError) -> String {
    match error {
        // Which of its rules looked at it says nothing of what is wrong.
        DataFusionError::Context(what, error) if what.starts_with("Optimizer rule") => text(error),
        DataFusionError::Context(what, error) => format!("{what}: {}", text(error)),
        DataFusionError::Diagnostic(_, error) => text(error),
        DataFusionError::Shared(error) => text(error),
        DataFusionError::Collection(errors) => errors.iter().map(text).collect::<Vec<_>>().join("\n"),
        DataFusionError::Plan(text) | DataFusionError::Execution(text) => text.clone(),
        DataFusionError::SchemaError(error, _) => error.to_string(),
        DataFusionError::ArrowError(error, _) => error.to_string(),
        DataFusionError::External(error) => error.to_string(),
        DataFusionError::SQL(error, _) => match &**error {
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => format!("this is no SQL: {text}"),
            ParserError::RecursionLimitExceeded => "this is nested too deep".into(),
        },
        other => other.strip_backtrace(),
    }
}

impl std::error::Error for SqlError {}
