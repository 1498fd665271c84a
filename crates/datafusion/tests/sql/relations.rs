//! Functions in FROM: tables, and maps over a subquery.

use anyudf_datafusion::{Error, RegisterWorker, WorkerOptions};
use datafusion::execution::context::SessionContext;
use serde_json::json;

use crate::support::{error, plan, rows, session};
use crate::worker;

#[tokio::test(flavor = "multi_thread")]
async fn a_table_function_takes_constants() {
    let context = session().await;
    for (query, expected) in [
        ("SELECT * FROM count_to(3)", "1\n2\n3"),
        ("SELECT value + 1 AS v FROM count_to(stop => 2 * 3, step => 2) ORDER BY v", "3\n5\n7"),
        ("SELECT sum(c.value) FROM count_to(100, 1) AS c", "5050"),
        ("SELECT count_to.value FROM count_to('2') JOIN u ON u.n = value", "2"),
        ("SELECT double(value) FROM count_to(2)", "2\n4"),
        ("SELECT value FROM count_to(step => 1, stop => NULL) LIMIT 2", "1\n2"),
    ] {
        assert_eq!(rows(&context, query).await, expected, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_function_takes_a_subquery() {
    let context = session().await;
    for (query, expected) in [
        ("SELECT n, count(*) FROM again((SELECT n FROM u)) GROUP BY n ORDER BY n", "2|2\n4|2\n6|2"),
        ("SELECT count(*) FROM again((SELECT * FROM u))", "6"),
        ("SELECT length FROM lengths((SELECT s FROM t WHERE n > 0)) AS l ORDER BY l.length", "3\n3\n"),
        ("WITH many AS (SELECT * FROM u) SELECT count(*) FROM again((SELECT * FROM many))", "6"),
        ("SELECT sum(length) FROM lengths((SELECT shout(s) FROM t))", "19"),
        ("SELECT max(a.m) FROM again((SELECT * FROM u)) AS a WHERE a.m < 50", "40"),
    ] {
        assert_eq!(rows(&context, query).await, expected, "{query}");
    }
    // A filter is above the map, whether or not it names a column, and the order below it is what the function sees.
    let pairs = "SELECT min(c) FROM (SELECT value, count(*) AS c FROM again((SELECT value FROM range(500))) \
                 WHERE random() < 0.5 GROUP BY value)";
    assert_eq!(rows(&context, pairs).await, "1");
    let none = "SELECT count(*) FROM again((SELECT n FROM u)) WHERE (SELECT max(n) FROM u) > 6";
    assert_eq!(rows(&context, none).await, "0");
    let ordered = "SELECT n FROM again((SELECT n FROM u ORDER BY m DESC))";
    assert_eq!(rows(&context, ordered).await, "6\n4\n2\n6\n4\n2");
    let shown = plan(&context, "SELECT * FROM again((SELECT * FROM u))").await;
    assert!(shown.contains("WorkerMapExec: again, worker="), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn data_frames_have_them_too() {
    let context = SessionContext::new();
    let worker = context.register_worker(worker::dispatcher()).await.expect("it tells its functions");
    let options = json!({ "stop": 4, "step": 2 }).as_object().cloned().expect("an object");
    let numbers = worker.table("count_to", &context, options).await.expect("a table");
    let twice = worker.map("again", numbers, Default::default()).await.expect("a map");
    assert_eq!(twice.count().await.expect("rows"), 4);
    let refused = worker.table("count_two", &context, Default::default()).await.expect_err("no such function");
    assert!(refused.to_string().contains("has no table function `count_two`; it has [count_to]"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_leads_to_them() {
    let context = SessionContext::new();
    let options = WorkerOptions::default().with_schema("w");
    context.register_worker_with(worker::dispatcher(), options).await.expect("it tells its functions");
    assert_eq!(rows(&context, "SELECT sum(w.double(value)) FROM w.count_to(3)").await, "12");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_they_do_not_take_is_refused() {
    let context = session().await;
    for (query, expected) in [
        ("SELECT * FROM count_to('x')", "argument 1 (`stop`) of `count_to` is Int64"),
        ("SELECT * FROM count_to(1, 2, 3)", "`count_to` takes 2 arguments, and argument 3 was given"),
        ("SELECT * FROM count_to(1, stop => 2)", "`stop` was given to `count_to` twice"),
        ("SELECT * FROM lengths()", "`lengths` takes rows: give it a subquery"),
        ("SELECT * FROM lengths((SELECT n, s FROM t))", "`lengths` takes 1 argument, and 2 are given"),
        ("SELECT * FROM lengths(1)", "`lengths` takes a subquery, as in"),
        ("SELECT * FROM count_to(random())", "must be constant"),
    ] {
        let refused = error(&context, query).await.to_string();
        assert!(refused.contains(expected), "{query}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn their_errors_are_the_functions() {
    let context = session().await;
    let failed = error(&context, "SELECT * FROM fussy((SELECT * FROM u))").await;
    let failed = Error::of(&failed).expect("one of anyudf");
    assert_eq!(failed.to_string(), "function `fussy` failed in partition 0: [FUNCTION_FAILED] it takes nothing");
    let failed = error(&context, "SELECT * FROM count_to(1, 0)").await;
    assert_eq!(Error::of(&failed).expect("one of anyudf").condition(), "BAD_STEP", "{failed}");
}
