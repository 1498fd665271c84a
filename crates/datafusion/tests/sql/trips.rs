//! Which calls travel together, and what is sent.

use anyudf_datafusion::{CallTotals, Error, RegisterWorker, WorkerOptions};
use datafusion::execution::context::SessionContext;
use datafusion::physical_plan::collect;

use crate::support::{error, plan, rows, session};
use crate::worker;

/// The nodes of a query's plan that go to workers, from the top, without what is behind the calls. Results are counted from 1.
async fn trips(context: &SessionContext, query: &str) -> Vec<String> {
    let plan = plan(context, query).await;
    let nodes = plan.lines().filter_map(|line| line.split_once("WorkerExec: ")?.1.split_once(", worker="));
    let nodes: Vec<_> = nodes.map(|(calls, _)| calls.replace("t.", "")).collect();
    let all = nodes.join(" ");
    let number = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u32>().ok();
    let mut numbers: Vec<_> = all.split("__worker_call_").skip(1).filter_map(number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let counted = |node: &String| {
        let names = numbers.iter().enumerate().rev();
        names.fold(node.clone(), |node, (place, number)| {
            node.replace(&format!("__worker_call_{number}"), &format!("c{}", place + 1))
        })
    };
    nodes.iter().map(counted).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_for_the_same_rows_travel_together() {
    let context = session().await;
    for (query, nodes) in [
        ("SELECT double(n), half(x) FROM t", &["double(n) AS c1, half(x) AS c2"][..]),
        ("SELECT double(double(n)) FROM t", &["double(double(n)) AS c1"]),
        ("SELECT double(n), add(double(n), n) FROM t", &["double(n) AS c1, add(c1, n) AS c2"]),
        ("SELECT tick(tick(n)), tick(n) FROM t", &["tick(tick(n)) AS c1, tick(n) AS c2"]),
        ("SELECT add(double(n), 1) FROM t WHERE double(n) > 2", &["add(c1, Int64(1)) AS c2", "double(n) AS c1"]),
        ("SELECT double(double(n) + 1) FROM t", &["double(c1 + Int64(1)) AS c2", "double(n) AS c1"]),
        ("SELECT double(21), double(n) FROM t", &["double(n) AS c2", "double(Int64(21)) AS c1"]),
        (
            "SELECT CASE WHEN n > 1 THEN add(double(n), 1) END FROM t",
            &["add(double(n), Int64(1)) AS c1 where CASE WHEN n > Int64(1) THEN Int64(1) ELSE Int64(0) END"],
        ),
    ] {
        assert_eq!(trips(&context, query).await, nodes, "{query}");
        rows(&context, query).await;
    }
    let shown =
        rows(&context, "SELECT double(n), add(double(n), n), add(double(double(n)), 7) FROM t ORDER BY n").await;
    assert_eq!(shown, "-8|-12|-9\n2|3|11\n4|6|15\n6|9|19");
}

/// What only calls of the same trip needed comes back when somebody above needs it, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_result_within_a_trip_is_reused() {
    let context = session().await;
    let query = "SELECT double(n) FROM t WHERE add(double(n), n) > 3 ORDER BY n";
    assert_eq!(trips(&context, query).await, ["double(n) AS c1, add(c1, n) AS c2"]);
    assert_eq!(rows(&context, query).await, "4\n6");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_workers_and_those_that_take_one_call_have_trips_of_their_own() {
    let context = session().await;
    let options = WorkerOptions::default().with_schema("plain");
    context.register_worker_with(worker::plain(), options).await.expect("its functions");
    let query = "SELECT plain.double(plain.double(n)), plain.add(n, 1), double(double(n)) FROM t";
    let nodes =
        ["double(double(n)) AS c4", "plain.add(n, Int64(1)) AS c3", "plain.double(c1) AS c2", "plain.double(n) AS c1"];
    assert_eq!(trips(&context, query).await, nodes);
    assert_eq!(rows(&context, &format!("{query} ORDER BY n")).await, "-16|-3|-16\n4|2|4\n8|3|8\n12|4|12");
}

/// Constants are sent once, and a column that several arguments are as well.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_the_same_is_sent_once() {
    let context = session().await;
    let long = "x".repeat(10_000);
    let sent = async |query: &str| {
        let frame = context.sql(query).await.expect("a query");
        let (context, plan) = (frame.task_ctx(), frame.create_physical_plan().await.expect("a plan"));
        collect(std::sync::Arc::clone(&plan), context.into()).await.expect("its rows");
        let totals: Vec<CallTotals> = CallTotals::of(&plan);
        totals.iter().map(|call| call.bytes_sent).sum::<usize>()
    };
    let bytes = sent(&format!("SELECT label(value, '{long}') FROM generate_series(1, 1000)")).await;
    assert!((8_000..40_000).contains(&bytes), "{bytes} bytes for a thousand numbers and one text");
    let one = sent("SELECT double(value) FROM generate_series(1, 8000)").await;
    let same = sent("SELECT add(value, double(value)), double(value) FROM generate_series(1, 8000)").await;
    assert!(same < one + one / 4, "{same} bytes, {one} for one column");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_within_a_trip_names_its_function_and_row() {
    let context = session().await;
    let failed = error(&context, "SELECT double(positive(n)), half(x) FROM t").await;
    let failed = Error::of(&failed).expect("an error of anyudf");
    assert_eq!(failed.condition(), "NOT_POSITIVE");
    assert_eq!(
        failed.to_string(),
        "function `positive` failed in row 4 of partition 0: [NOT_POSITIVE] -4 is not above zero"
    );
    let short = error(&context, "SELECT double(short(n)) FROM t").await.to_string();
    assert!(short.contains("function `short`"), "{short}");
}
