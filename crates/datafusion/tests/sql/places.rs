//! Calls are legal wherever a scalar expression is.

use expect_test::{Expect, expect};

use crate::support::{rows, session};

async fn check(query: &str, expected: Expect) {
    expected.assert_eq(&rows(&session().await, query).await);
}

/// A condition of a join may decide about a call with columns of both sides.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_made_for_rows_that_meet() {
    let context = session().await;
    let query = "SELECT l.value FROM range(1, 5) AS l JOIN range(5) AS r \
                 ON l.value = r.value AND (l.value > 100 OR positive(r.value) > 2) ORDER BY 1";
    assert_eq!(rows(&context, query).await, "3\n4");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_select() {
    check(
        "SELECT n, double(n) + 1 AS d FROM t ORDER BY n",
        expect![[r#"
        -4|-7
        1|3
        2|5
        3|7"#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_each_other() {
    check(
        "SELECT double(add(double(n), 1)) FROM t ORDER BY n",
        expect![[r#"
        -14
        6
        10
        14"#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_where() {
    check("SELECT n FROM t WHERE double(n) > 3 AND x IS NOT NULL ORDER BY n", expect!["2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_group_by_and_having() {
    check(
        "SELECT double(n % 2), count(*), sum(double(n)) FROM t GROUP BY double(n % 2) HAVING sum(double(n)) > 0 ORDER BY 1",
        expect!["2|2|8"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_rollup() {
    check(
        "SELECT double(n % 2) AS g, count(*) FROM t GROUP BY ROLLUP(double(n % 2)) ORDER BY g NULLS LAST",
        expect![[r#"
        0|2
        2|2
        |4"#]],
    )
    .await;
    check(
        "SELECT double(n) AS a, n % 2 AS b, max(add(n, 1)) FROM t GROUP BY GROUPING SETS ((double(n)), (n % 2)) ORDER BY 1, 2",
        expect![[r#"
            -8||-3
            2||2
            4||3
            6||4
            |0|3
            |1|4"#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_filter_of_an_aggregate() {
    check("SELECT count(*) FILTER (WHERE double(n) > 2), max(double(n)) FILTER (WHERE n < 3) FROM t", expect!["2|4"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_order_by() {
    check(
        "SELECT n FROM t ORDER BY double(-n)",
        expect![[r#"
        3
        2
        1
        -4"#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_window() {
    check(
        "SELECT n, sum(double(n)) OVER (ORDER BY double(n)) FROM t ORDER BY n",
        expect![[r#"
        -4|-8
        1|-6
        2|-2
        3|4"#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_join_on() {
    check(
        "SELECT t.n, u.m FROM t JOIN u ON double(t.n) = u.n ORDER BY 1",
        expect![[r#"
        1|20
        2|40
        3|60"#]],
    )
    .await;
    check(
        "SELECT t.n, u.m FROM t LEFT JOIN u ON double(t.n) = u.n AND double(u.m) > 50 ORDER BY 1",
        expect![[r#"
        -4|
        1|
        2|40
        3|60"#]],
    )
    .await;
    check("SELECT t.n, u.m FROM t JOIN u ON t.n < u.n AND add(t.n, u.n) = 5 ORDER BY 1", expect!["1|40"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_subqueries() {
    check("SELECT n FROM t WHERE n IN (SELECT double(n) FROM t) ORDER BY 1", expect!["2"]).await;
    check("SELECT (SELECT max(double(n)) FROM u) AS top FROM t LIMIT 1", expect!["12"]).await;
    check(
        "SELECT n FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.n = double(t.n)) ORDER BY 1",
        expect![[r#"
        1
        2
        3"#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_unions_and_over_constants() {
    check(
        "SELECT double(n) FROM u UNION ALL SELECT double(1) ORDER BY 1",
        expect![[r#"
        2
        4
        8
        12"#]],
    )
    .await;
    check("SELECT double(21), shout('a')", expect!["42|A"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_distinct_and_limit() {
    check(
        "SELECT DISTINCT double(n % 2) FROM t ORDER BY 1",
        expect![[r#"
        0
        2"#]],
    )
    .await;
    check(
        "SELECT double(n) FROM t ORDER BY n LIMIT 2 OFFSET 1",
        expect![[r#"
        2
        4"#]],
    )
    .await;
}

/// Nulls of arguments are the function's own matter.
#[tokio::test(flavor = "multi_thread")]
async fn of_nulls() {
    check(
        "SELECT half(x), shout(s), double(NULL) FROM t ORDER BY n",
        expect![[r#"
        2.0|FOUR|
        0.75|ONE|
        1.25|TWO|
        |(nothing)|"#]],
    )
    .await;
}
