//! Sessions with a worker, and queries as text.

use anyudf_datafusion::RegisterWorker;
use arrow_array::RecordBatch;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SessionContext;
use datafusion::prelude::SessionConfig;

use crate::worker;

/// A session with the tests' worker and a few rows: `t(n, x, s)`, `u(n, m)`.
pub(crate) async fn session() -> SessionContext {
    session_with(SessionConfig::new().with_target_partitions(2)).await
}

pub(crate) async fn session_with(config: SessionConfig) -> SessionContext {
    let context = SessionContext::new_with_config(config);
    context.register_worker(worker::dispatcher()).await.expect("the worker tells its functions");
    for statement in [
        "CREATE TABLE t AS SELECT * FROM (VALUES (1, 1.5, 'one'), (2, 2.5, 'two'), (3, NULL, NULL), (-4, 4.0, 'four')) AS v(n, x, s)",
        "CREATE TABLE u AS SELECT * FROM (VALUES (2, 20), (4, 40), (6, 60)) AS v(n, m)",
    ] {
        context.sql(statement).await.expect("a table").collect().await.expect("its rows");
    }
    context
}

/// What a query gives.
pub(crate) async fn run(context: &SessionContext, query: &str) -> Result<Vec<RecordBatch>, DataFusionError> {
    context.sql(query).await?.collect().await
}

/// The rows of a query: values with `|` between, rows in lines.
pub(crate) async fn rows(context: &SessionContext, query: &str) -> String {
    let batches = run(context, query).await.unwrap_or_else(|error| panic!("{query}: {error}"));
    let table = pretty_format_batches(&batches).expect("it can be shown").to_string();
    let lines = table.lines().filter(|line| line.starts_with('|')).skip(1);
    let cells = |line: &str| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        cells.join("|")
    };
    lines.map(cells).collect::<Vec<_>>().join("\n")
}

/// The physical plan of a query, as EXPLAIN shows it.
pub(crate) async fn plan(context: &SessionContext, query: &str) -> String {
    let query = format!("EXPLAIN FORMAT INDENT {query}");
    let batches = run(context, &query).await.unwrap_or_else(|error| panic!("{query}: {error}"));
    pretty_format_batches(&batches).expect("it can be shown").to_string()
}

/// The error of a query.
pub(crate) async fn error(context: &SessionContext, query: &str) -> DataFusionError {
    match run(context, query).await {
        Ok(batches) => panic!("{query} gave {batches:?}"),
        Err(error) => error,
    }
}
