//! How often is called, and for which rows.

use crate::support::{plan, rows, session};

/// How many calls a plan makes.
async fn calls(query: &str) -> usize {
    let plan = plan(&session().await, query).await;
    let nodes = plan.lines().filter(|line| line.contains("WorkerExec"));
    nodes.map(|node| node.matches(" AS __worker_call").count()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_calls_are_made_once() {
    assert_eq!(calls("SELECT double(n), double(n) + 1 FROM t").await, 1);
    assert_eq!(calls("SELECT double(n) FROM t WHERE double(n) > 2").await, 1);
    assert_eq!(calls("SELECT twice(n) FROM t WHERE double(n) > 2 AND double(n) < 5").await, 1);
    assert_eq!(calls("SELECT double(n) FROM t WHERE double(n) > 2 GROUP BY double(n) ORDER BY double(n)").await, 1);
    assert_eq!(calls("SELECT double(t.n) FROM t JOIN u ON double(t.n) = u.n").await, 1);
    assert_eq!(calls("SELECT double(n), double(n + 1) FROM t").await, 2);
    assert_eq!(
        calls("SELECT tick(n) AS a, tick(n) AS b FROM t").await,
        2,
        "a volatile function is called as often as it is written"
    );
}

/// What a CASE, an AND or an OR does not come to is not called for: `positive` fails for what is not above zero.
#[tokio::test(flavor = "multi_thread")]
async fn only_rows_that_come_to_it_are_called_for() {
    let context = session().await;
    for (query, expected) in [
        ("SELECT CASE WHEN n > 0 THEN positive(n) ELSE 0 END FROM t ORDER BY n", "0\n1\n2\n3"),
        ("SELECT CASE WHEN n < 0 THEN 0 ELSE positive(n) END FROM t ORDER BY n", "0\n1\n2\n3"),
        ("SELECT CASE n WHEN -4 THEN 0 WHEN positive(n) THEN 1 END FROM t ORDER BY n", "0\n1\n1\n1"),
        ("SELECT n > 0 AND positive(n) > 2 FROM t ORDER BY n", "false\nfalse\nfalse\ntrue"),
        ("SELECT n < 0 OR positive(n) > 2 FROM t ORDER BY n", "true\nfalse\nfalse\ntrue"),
        ("SELECT coalesce(CASE WHEN n < 0 THEN n END, positive(n)) FROM t ORDER BY n", "-4\n1\n2\n3"),
        ("SELECT n FROM t WHERE n > 0 AND positive(n) > 2", "3"),
        ("SELECT n FROM t WHERE positive(n) > 2 AND n > 0", "3"),
        ("SELECT n FROM t WHERE n < 0 OR positive(n) > 2 ORDER BY n", "-4\n3"),
        ("SELECT sum(positive(n)) FILTER (WHERE n > 0) FROM t", "6"),
        (
            "SELECT CASE WHEN n > 0 THEN CASE WHEN double(n) > 2 THEN positive(n - 1) END END FROM t ORDER BY n",
            "\n\n1\n2",
        ),
        (
            "SELECT CASE WHEN n = -4 THEN 0 WHEN 12 / (n + 4) > 2 THEN positive(12 / (n + 4) - 1) END FROM t ORDER BY n",
            "0\n\n\n",
        ),
        (
            "SELECT CASE WHEN n > 0 THEN positive(n) END, CASE WHEN n > 1 THEN positive(n) END FROM t ORDER BY n",
            "|\n1|\n2|2\n3|3",
        ),
    ] {
        assert_eq!(rows(&context, query).await, expected, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn constants_are_called_for_once() {
    let context = session().await;
    let shown = rows(&context, "EXPLAIN ANALYZE SELECT double(21), n FROM t").await;
    assert!(shown.contains("rows_sent=1,"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_show_worker_function_and_sessions() {
    let context = session().await;
    let shown = plan(&context, "SELECT double(n) FROM t").await;
    assert!(shown.contains("WorkerExec: double(t.n) AS __worker_call_1, worker="), "{shown}");
    assert!(shown.contains("sessions="), "{shown}");
    let shown = rows(&context, "EXPLAIN ANALYZE SELECT double(n) FROM t").await;
    for metric in
        ["rows_sent=4", "rows_received=4", "bytes_sent=", "bytes_received=", "wait=", "user_time=", "sessions=1"]
    {
        assert!(shown.contains(metric), "{metric}: {shown}");
    }
}
