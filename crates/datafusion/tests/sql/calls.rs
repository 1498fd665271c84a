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
    assert_eq!(calls("SELECT a.n, double(a.n) FROM t AS a WHERE double(a.n) > 2").await, 1);
    assert_eq!(calls("SELECT double(a.n) FROM t AS a JOIN u AS b ON double(a.n) = b.n WHERE double(a.n) > 2").await, 1);
    assert_eq!(calls("SELECT double(a.n), b.n FROM t AS a LEFT JOIN u AS b ON double(a.n) = b.n").await, 1);
    assert_eq!(calls("SELECT double(n), sum(double(n)) OVER (ORDER BY n) FROM t").await, 1);
    assert_eq!(calls("SELECT s.d, double(s.n) FROM (SELECT n, double(n) AS d FROM t LIMIT 3) AS s").await, 1);
    assert_eq!(calls("SELECT double(n), double(n + 1) FROM t").await, 2);
    assert_eq!(
        calls("SELECT tick(n) AS a, tick(n) AS b FROM t").await,
        2,
        "a volatile function is called as often as it is written"
    );
}

/// Each of those has the answer of a function that is called where it stands.
#[tokio::test(flavor = "multi_thread")]
async fn results_are_reused_under_other_names() {
    let context = session().await;
    for (query, expected) in [
        ("SELECT a.n, double(a.n) FROM t AS a WHERE double(a.n) > 2 ORDER BY 1", "2|4\n3|6"),
        ("SELECT double(a.n), b.n FROM t AS a LEFT JOIN u AS b ON double(a.n) = b.n ORDER BY 1", "-8|\n2|2\n4|4\n6|6"),
        ("SELECT double(n), sum(double(n)) OVER (ORDER BY n) FROM t ORDER BY 1", "-8|-8\n2|-6\n4|-2\n6|4"),
        ("SELECT s.d, double(s.n) FROM (SELECT n, double(n) AS d FROM t ORDER BY n LIMIT 3) AS s", "-8|-8\n2|2\n4|4"),
    ] {
        assert_eq!(rows(&context, query).await, expected, "{query}");
    }
}

/// A condition that is something else each time is evaluated once: what it decides about the call holds for its arguments and for
/// the CASE, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_condition_that_changes_is_evaluated_once() {
    let context = session().await;
    for (query, expected) in [
        ("SELECT CASE WHEN random() > 2 THEN positive(12 / (n - 1)) END FROM t", "\n\n\n"),
        (
            "SELECT CASE WHEN random() > 2 THEN CASE WHEN 12 / (n - 1) > random() THEN positive(n) END END FROM t",
            "\n\n\n",
        ),
        ("SELECT random() > 2 AND positive(12 / (n - 1)) > 0 FROM t", "false\nfalse\nfalse\nfalse"),
        ("SELECT CASE WHEN n > random() THEN positive(n) ELSE 0 END FROM t ORDER BY n", "0\n1\n2\n3"),
        ("SELECT CASE WHEN double(n) > random() THEN positive(double(n)) ELSE 0 END FROM t ORDER BY n", "0\n2\n4\n6"),
        ("SELECT CASE floor(random()) WHEN 1 THEN positive(n) WHEN 0 THEN 7 END FROM t", "7\n7\n7\n7"),
    ] {
        assert_eq!(rows(&context, query).await, expected, "{query}");
    }
    // In about half of a thousand rows the function is called, and only those have its results.
    let query = "SELECT count(c), sum(c) = count(c) FROM (SELECT CASE WHEN random() < 0.5 THEN positive(1) END AS c FROM range(1000))";
    let shown = rows(&context, query).await;
    let (count, only_ones) = shown.split_once('|').expect("two columns");
    assert!((300..700).contains(&count.parse::<u32>().expect("a number")) && only_ones == "true", "{shown}");
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
