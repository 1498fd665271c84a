//! SQL over files, for a host that has no DataFusion program of its own.

mod error;
mod names;
mod rows;
mod sized;
mod tables;

use std::fmt;
use std::sync::Arc;

use datafusion::catalog::DynamicFileCatalog;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SessionContext;
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::{DFParser, Statement as Parsed};
use datafusion::sql::sqlparser::ast::Statement as Sql;

use crate::register::{RegisterWorker, RegisteredWorker};
use crate::worker::WorkerOptions;
pub use error::SqlError;
pub use names::SqlNames;
pub use rows::{Rows, SqlProgress};
use tables::FileTables;

/// A session whose tables are files: `FROM 'flights.parquet'`, `FROM 'dir/*.csv'`, or by a name that was given to one.
///
/// The format is told by the end of the name: `parquet`; `csv` with a header, `tsv`; `ndjson`, `jsonl`, `json` with an
/// object a line; `arrow`, `arrows`. All partitions of a plan run on the tokio runtime that the caller is on, which must be a
/// multi-threaded one.
pub struct SqlSession {
    context: SessionContext,
    files: Arc<FileTables>,
}

/// One statement of a text.
#[derive(Clone, Debug)]
pub struct Statement(Parsed);

impl Statement {
    /// Whether it is a query, or another statement whose rows are what it is for. It may give rows that say how it went all the
    /// same, as COPY does.
    pub fn gives_rows(&self) -> bool {
        match &self.0 {
            Parsed::Statement(statement) => matches!(
                **statement,
                Sql::Query(_)
                    | Sql::ShowTables { .. }
                    | Sql::ShowColumns { .. }
                    | Sql::ShowVariable { .. }
                    | Sql::ShowFunctions { .. }
                    | Sql::ShowCreate { .. }
                    | Sql::ExplainTable { .. }
                    | Sql::Execute { .. }
            ),
            other => matches!(other, Parsed::Explain(_)),
        }
    }

    /// It asks for a plan: the rows are its parts, in a column of titles and one of text in lines.
    pub fn is_explain(&self) -> bool {
        matches!(self.0, Parsed::Explain(_))
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for SqlSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlSession").field("id", &self.context.session_id()).finish_non_exhaustive()
    }
}

impl SqlSession {
    /// A session whose plans have so many partitions, which run at the same time.
    pub fn new(partitions: usize) -> Self {
        let config = SessionConfig::new().with_target_partitions(partitions.max(1)).with_information_schema(true);
        let state = SessionStateBuilder::new().with_config(config).with_default_features().build();
        let files = Arc::new(FileTables::default());
        let catalogs = DynamicFileCatalog::new(Arc::clone(state.catalog_list()), Arc::clone(&files) as _);
        let state = SessionStateBuilder::new_from_existing(state).with_catalog_list(Arc::new(catalogs)).build();
        SqlSession { context: SessionContext::new_with_state(state), files }
    }

    /// Makes the functions of a worker callable, as [`RegisterWorker`] does.
    ///
    /// # Errors
    /// Those of [`RegisterWorker::register_worker`].
    ///
    /// # Cancel safety
    /// Nothing is registered when the future is dropped.
    pub async fn register_worker(
        &self,
        dispatcher: anyudf_engine::Dispatcher,
        options: WorkerOptions,
    ) -> Result<RegisteredWorker, SqlError> {
        self.context.register_worker_with(dispatcher, options).await.map_err(SqlError::of_rows)
    }

    /// Gives a file, or a pattern of files, a name.
    ///
    /// # Errors
    /// It is not there, its format is not known, or its columns can't be told.
    ///
    /// # Cancel safety
    /// Nothing is registered when the future is dropped.
    pub async fn register_table(&self, name: &str, path: &str) -> Result<(), SqlError> {
        let table = self.files.open(path).await.map_err(SqlError::of_statement)?;
        self.context.register_table(name, table).map(drop).map_err(SqlError::of_statement)
    }

    /// All that a statement may name.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn names(&self) -> SqlNames {
        SqlNames::of(&self.context).await
    }

    /// The statements of a text, which `;` separates.
    ///
    /// # Errors
    /// What is no SQL, with its line and column.
    pub fn parse(text: &str) -> Result<Vec<Statement>, SqlError> {
        let statements = DFParser::parse_sql(text).map_err(SqlError::of_statement)?;
        Ok(statements.into_iter().map(Statement).collect())
    }

    /// Plans a statement and begins it.
    ///
    /// # Errors
    /// It can't be planned, or its plan can't be begun.
    ///
    /// # Cancel safety
    /// Dropping the future cancels what was begun.
    pub async fn run(&self, statement: Statement) -> Result<Rows, SqlError> {
        let plan = self.context.state().statement_to_plan(statement.0).await.map_err(SqlError::of_statement)?;
        let frame = self.context.execute_logical_plan(plan).await.map_err(SqlError::of_statement)?;
        let context = Arc::new(frame.task_ctx());
        let plan = frame.create_physical_plan().await.map_err(SqlError::of_statement)?;
        Rows::begin(plan, context).map_err(SqlError::of_statement)
    }
}
