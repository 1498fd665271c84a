//! SQL over files, for a host that has no DataFusion program of its own.

mod names;
mod tables;

use std::fmt;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::catalog::DynamicFileCatalog;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SessionContext;
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::{DFParser, Statement as Parsed};
use futures::StreamExt as _;

use crate::register::{RegisterWorker, RegisteredWorker};
use crate::worker::WorkerOptions;
pub use names::SqlNames;
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

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a statement gave no rows, and when it was found out.
#[derive(Debug)]
pub struct SqlError {
    planned: bool,
    error: DataFusionError,
}

impl SqlError {
    /// It is the statement that can't be done, found before anything was; otherwise data, a file or a function failed.
    pub fn is_statement(&self) -> bool {
        !self.planned && !matches!(self.error.find_root(), DataFusionError::IoError(_) | DataFusionError::ObjectStore(_))
    }

    /// The stable name of what happened, when it was a worker or a function that it happened to.
    pub fn condition(&self) -> Option<&str> {
        crate::Error::of(&self.error).map(crate::Error::condition)
    }

    fn of_statement(error: DataFusionError) -> Self {
        SqlError { planned: crate::Error::of(&error).is_some(), error }
    }

    fn of_rows(error: DataFusionError) -> Self {
        SqlError { planned: true, error }
    }
}

impl fmt::Display for SqlError {
    /// What a worker or a function says stands by itself: DataFusion's words around it say where it was planned.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match crate::Error::of(&self.error) {
            Some(error) => error.fmt(f),
            None => f.write_str(&self.error.strip_backtrace()),
        }
    }
}

impl std::error::Error for SqlError {}

/// The rows of a statement while they are made. Dropping it cancels what is under way.
pub struct Rows {
    schema: SchemaRef,
    stream: SendableRecordBatchStream,
}

impl Rows {
    /// Their columns; none for a statement that gives no rows, such as CREATE VIEW.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The next of them; `None` behind the last.
    ///
    /// # Errors
    /// A function, a worker or a file failed: nothing more comes.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, SqlError> {
        self.stream.next().await.transpose().map_err(SqlError::of_rows)
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("schema", &self.schema).finish_non_exhaustive()
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
        let table = self.files.open(path).await.map_err(SqlError::of_rows)?;
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
        let stream = frame.execute_stream().await.map_err(SqlError::of_statement)?;
        Ok(Rows { schema: stream.schema(), stream })
    }
}
