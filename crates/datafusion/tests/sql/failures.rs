//! What goes wrong, and how it is said.

use anyudf_datafusion::{Error, RegisterWorker, WorkerOptions};
use anyudf_engine::ErrorKind;
use datafusion::error::DataFusionError;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;

use crate::support::{error, rows, session};
use crate::worker;

fn ours(error: &DataFusionError) -> &Error {
    Error::of(error).unwrap_or_else(|| panic!("an error of anyudf: {error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_arguments_are_told_with_the_signature() {
    let context = session().await;
    let text = error(&context, "SELECT add(n) FROM t").await.to_string();
    assert!(text.contains("`add` takes 2 arguments, and 1 is given; it is add(a Int64, b Int64) -> Int64"), "{text}");
    let text = error(&context, "SELECT double(s) FROM t").await.to_string();
    assert!(text.contains("argument 1 (`n`) of `double` is Int64, and Utf8"), "{text}");
    let text = error(&context, "SELECT dubble(n) FROM t").await.to_string();
    assert!(text.contains("Did you mean 'double'?"), "{text}");
    assert_eq!(rows(&context, "SELECT add(b => 1, a => n) FROM t ORDER BY n LIMIT 1").await, "-3");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_function_names_the_row() {
    let context = session().await;
    let failed = error(&context, "SELECT positive(n) FROM t").await;
    let failed = ours(&failed);
    assert_eq!((failed.kind(), failed.condition()), (ErrorKind::User, "NOT_POSITIVE"));
    assert_eq!(
        failed.to_string(),
        "function `positive` failed in row 4 of partition 0: [NOT_POSITIVE] -4 is not above zero"
    );
}

/// What is large travels in several messages, whose rows the worker counts by themselves: the right row is named, or none.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_names_no_wrong_row() {
    let context = session().await;
    for row in [40, 300, 1500, 2300, 2999] {
        let query = format!(
            "SELECT label(CASE WHEN value = {row} THEN -1 ELSE value END, repeat('x', 2000 + value % 2)) \
             FROM generate_series(1, 3000)"
        );
        let text = ours(&error(&context, &query).await).to_string();
        assert!(
            text.contains(&format!(" in row {row} of partition 0: ")) || text.contains(" at rows "),
            "{row}: {text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_ends_the_query() {
    let context = session().await;
    let died = error(&context, "SELECT die(n + 3) FROM u WHERE n > 2").await;
    assert_eq!(ours(&died).condition(), "WORKER_DIED", "{died}");
    assert!(ours(&died).to_string().contains("function `die` could not be run to its end at rows 1 to"), "{died}");
    assert_eq!(rows(&context, "SELECT double(n) FROM u ORDER BY 1").await, "4\n8\n12", "another one takes its place");
}

#[tokio::test(flavor = "multi_thread")]
async fn results_of_another_length_or_type_are_refused() {
    let context = session().await;
    for (function, condition) in
        [("short", "WRONG_RESULT_LENGTH"), ("long", "WRONG_RESULT_LENGTH"), ("liar", "WRONG_RESULT_TYPE")]
    {
        let refused = error(&context, &format!("SELECT {function}(n) FROM t")).await;
        assert_eq!(ours(&refused).condition(), condition, "{refused}");
        assert!(refused.to_string().contains(&format!("function `{function}`")), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_with_the_same_function_need_a_schema() {
    let context = session().await;
    let refused = context.register_worker(worker::dispatcher()).await.expect_err("there is one already");
    assert_eq!(ours(&refused).condition(), "FUNCTION_EXISTS");
    assert!(refused.to_string().contains("already; give this worker a schema of its own"), "{refused}");
    let options = WorkerOptions::default().with_schema("other");
    context.register_worker_with(worker::dispatcher(), options).await.expect("another name");
    let processes = rows(&context, "SELECT pid(n) = pid(n), pid(n) = other.pid(n) FROM t LIMIT 1").await;
    assert_eq!(processes, "true|false");
}

/// R9: a LIMIT that has its rows cancels, and the worker hears it.
#[tokio::test(flavor = "multi_thread")]
async fn r9_limit_cancels_the_function() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let context = datafusion::execution::context::SessionContext::new();
    context.register_worker(worker::with_call_back(address)).await.expect("it tells its functions");
    let query = "SELECT value FROM generate_series(1, 1000000) WHERE hold(value) > 0 LIMIT 10";
    assert_eq!(rows(&context, query).await.lines().count(), 10);
    let (heard, _) = listener.accept().await.expect("it calls back");
    let mut line = String::new();
    BufReader::new(heard).read_line(&mut line).await.expect("a line");
    assert!(line.starts_with("Asked("), "{line}");
}
