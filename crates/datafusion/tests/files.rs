//! SQL over files, as a host without a DataFusion program of its own has it.

use std::fs;
use std::path::Path;

use anyudf_datafusion::{SqlError, SqlNames, SqlSession};
use datafusion::arrow::util::pretty::pretty_format_batches;
use tempfile::TempDir;

/// A directory of files, `FROM '{dir}/…'` in queries.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Place(tempfile::tempdir().expect("a temporary directory"))
    }

    fn with(self, name: &str, contents: &str) -> Self {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().expect("it is in the directory")).expect("a directory");
        fs::write(path, contents).expect("it can be written");
        self
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// The rows of the last statement, values with `|` between.
    async fn rows(&self, session: &SqlSession, text: &str) -> Result<String, SqlError> {
        let text = text.replace("{dir}", self.path().to_str().expect("a plain name"));
        let mut lines = String::new();
        for statement in SqlSession::parse(&text)? {
            let mut rows = session.run(statement).await?;
            let mut batches = Vec::new();
            while let Some(batch) = rows.next().await? {
                batches.push(batch);
            }
            let table = pretty_format_batches(&batches).expect("it can be shown").to_string();
            let cells = |line: &str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join("|");
            lines =
                table.lines().filter(|line| line.starts_with('|')).skip(1).map(cells).collect::<Vec<_>>().join("\n");
        }
        Ok(lines)
    }

    /// What is said of statements that can't be done; always that it is the statement.
    async fn refusal(&self, text: &str) -> String {
        let refused = self.rows(&session(), text).await.expect_err("it can't be done");
        assert!(refused.is_statement(), "{refused}");
        refused.to_string().replace(self.path().to_str().expect("a plain name"), "{dir}")
    }
}

fn session() -> SqlSession {
    SqlSession::new(2)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_format_is_told_by_the_end_of_the_name() {
    let place = Place::new()
        .with("x.csv", "n,s\n1,one\n2,two\n")
        .with("x.tsv", "n\ts\n1\tone\n2\ttwo\n")
        .with("x.ndjson", "{\"n\":1,\"s\":\"one\"}\n{\"n\":2,\"s\":\"two\"}\n")
        .with("x.jsonl", "{\"n\":1,\"s\":\"one\"}\n{\"n\":2,\"s\":\"two\"}\n");
    let session = session();
    for end in ["csv", "tsv", "ndjson", "jsonl"] {
        let rows = place.rows(&session, &format!("SELECT n + 1, s FROM '{{dir}}/x.{end}' ORDER BY n")).await;
        assert_eq!(rows.expect(end), "2|one\n3|two", "{end}");
    }
    for end in ["parquet", "arrow"] {
        let copy = format!("COPY (SELECT * FROM '{{dir}}/x.csv') TO '{{dir}}/y.{end}'");
        place.rows(&session, &copy).await.expect("it is written");
        let rows = place.rows(&session, &format!("SELECT s FROM '{{dir}}/y.{end}' WHERE n = 2")).await;
        assert_eq!(rows.expect(end), "two", "{end}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_and_patterns_are_tables_too() {
    let place = Place::new()
        .with("all/a1.csv", "n\n1\n")
        .with("all/a2.csv", "n\n2\n")
        .with("all/b.csv", "n\n3\n")
        .with("all/README.md", "not these");
    let session = session();
    for (from, sum) in
        [("{dir}/all", "6"), ("{dir}/all/", "6"), ("{dir}/all/a*.csv", "3"), ("{dir}/all/a[2-9].csv", "2")]
    {
        let rows = place.rows(&session, &format!("SELECT sum(n) FROM '{from}'")).await;
        assert_eq!(rows.unwrap_or_else(|error| panic!("{from}: {error}")), sum, "{from}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_may_have_a_name() {
    let place = Place::new().with("x.csv", "amount,city\n1,Ulm\n");
    let session = session();
    let path = place.path().join("x.csv");
    session.register_table("orders", path.to_str().expect("a plain name")).await.expect("it is there");
    assert_eq!(place.rows(&session, "SELECT city FROM orders").await.expect("a name"), "Ulm");
    place.rows(&session, "CREATE VIEW more AS SELECT amount + 1 AS next FROM orders").await.expect("a view");
    let SqlNames { tables, columns, functions, .. } = session.names().await;
    assert_eq!(tables, ["more", "orders"]);
    assert_eq!(columns, ["amount", "city", "next"]);
    assert!(functions.contains(&"upper".into()) && functions.contains(&"sum".into()), "DataFusion's own");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said_with_what_is_near() {
    let place = Place::new().with("flights.csv", "n\n1\n").with("notes.md", "?").with("empty/x.md", "?");
    for (text, said) in [
        ("SELECT * FROM '{dir}/flight.csv'", "there is no file `{dir}/flight.csv`; did you mean `{dir}/flights.csv`?"),
        ("SELECT * FROM '{dir}/q/x.csv'", "there is no file `{dir}/q/x.csv`, nor a directory `{dir}/q`"),
        ("SELECT * FROM '{dir}/x*.csv'", "no file is called `{dir}/x*.csv`"),
        (
            "SELECT * FROM '{dir}/*/x.csv'",
            "`{dir}/*/x.csv` has a pattern in the name of a directory, and only names of files may have one",
        ),
        (
            "SELECT * FROM '{dir}/notes.md'",
            "what format `{dir}/notes.md` has is told by the end of its name: one of parquet, csv, tsv, ndjson, jsonl, json, \
             arrow, arrows",
        ),
        (
            "SELECT * FROM flights",
            "there is no table `flights`; a file is named by its path in quotes, as in FROM 'flights.parquet'",
        ),
        ("SELEC 1", "this is no SQL: Expected: an SQL statement, found: SELEC at Line: 1, Column: 1"),
        ("SELECT uper('x')", "Invalid function 'uper'.\nDid you mean 'upper'?"),
        ("SELECT CAST('x' AS int)", "Cast error: Cannot cast string 'x' to value of Int32 type"),
    ] {
        assert_eq!(place.refusal(text).await, said, "{text}");
    }
    let place = place.with("both/a.csv", "n\n1\n").with("both/b.ndjson", "{}\n").with("zero.parquet", "");
    for (text, said) in [
        (
            "SELECT * FROM '{dir}/empty'",
            "no file in `{dir}/empty` ends in one of parquet, csv, tsv, ndjson, jsonl, json, arrow, arrows",
        ),
        (
            "SELECT * FROM '{dir}/both'",
            "`{dir}/both` has files of several formats: csv, ndjson; name those of one by a pattern, as in '{dir}/both/*.csv'",
        ),
        ("SELECT * FROM '{dir}/zero.parquet'", "`{dir}/zero.parquet` is empty"),
    ] {
        assert_eq!(place.refusal(text).await, said, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_may_look_like_anything() {
    let place = Place::new().with("data[1].csv", "n\n1\n").with("UP.CSV", "n\n2\n").with("a dir/é 'x'.csv", "n\n3\n");
    for (from, n) in [("data[1].csv", "1"), ("UP.CSV", "2"), ("a dir/é ''x''.csv", "3"), ("a dir", "3")] {
        let rows = place.rows(&session(), &format!("SELECT n FROM '{{dir}}/{from}'")).await;
        assert_eq!(rows.unwrap_or_else(|error| panic!("{from}: {error}")), n, "{from}");
    }
}

/// A file that is no such file is data that failed, and no mistake of the statement.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_row_is_no_mistake_of_the_statement() {
    let rows: String = (0..2_000).map(|n| format!("{n}\n")).collect();
    let place = Place::new().with("x.csv", &format!("n\n{rows}many\n"));
    let failed = place.rows(&session(), "SELECT sum(n) FROM '{dir}/x.csv'").await.expect_err("it is no number");
    assert!(!failed.is_statement(), "{failed}");
    assert!(failed.to_string().contains("many"), "{failed}");
    let place = Place::new().with("x.parquet", "this is none");
    let failed = place.rows(&session(), "SELECT * FROM '{dir}/x.parquet'").await.expect_err("it is none");
    assert!(!failed.is_statement(), "{failed}");
    assert!(failed.to_string().contains("x.parquet` can't be told: "), "{failed}");
}

/// The join keeps the short file in memory, whichever side it is on.
#[tokio::test(flavor = "multi_thread")]
async fn a_join_keeps_the_small_side() {
    let long: String = (0..5_000).map(|n| format!("{n},text of row {n}\n")).collect();
    let place = Place::new().with("long.csv", &format!("n,s\n{long}")).with("short.csv", "n,m\n1,2\n");
    for (left, right) in [("long", "short"), ("short", "long")] {
        let join = format!(
            "EXPLAIN FORMAT INDENT SELECT * FROM '{{dir}}/{left}.csv' l JOIN '{{dir}}/{right}.csv' r ON l.n = r.n"
        );
        let text = join.replace("{dir}", place.path().to_str().expect("a plain name"));
        let statement = SqlSession::parse(&text).expect("SQL").remove(0);
        assert!(statement.is_explain());
        let mut rows = session().run(statement).await.expect("a plan");
        let mut plan = String::new();
        while let Some(batch) = rows.next().await.expect("a plan") {
            plan.push_str(&pretty_format_batches(&[batch]).expect("it can be shown").to_string());
        }
        let (_, below) = plan.split_once("HashJoinExec: mode=CollectLeft").unwrap_or_else(|| panic!("{plan}"));
        let place_of = |name: &str| below.find(&format!("{name}.csv]]")).unwrap_or_else(|| panic!("{name}: {plan}"));
        assert!(place_of("short") < place_of("long"), "the first child is the one that is kept: {plan}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_counts_what_was_read() {
    let place = Place::new().with("x.csv", "n\n1\n2\n3\n");
    let session = session();
    let copy = "COPY (SELECT * FROM '{dir}/x.csv') TO '{dir}/x.parquet'";
    place.rows(&session, copy).await.expect("it is written");
    let text = format!("SELECT sum(n) FROM '{}'", place.path().join("x.parquet").display());
    let mut rows = session.run(SqlSession::parse(&text).expect("SQL").remove(0)).await.expect("rows");
    let progress = rows.progress();
    assert_eq!((progress.rows_in_tables(), progress.rows_read()), (Some(3), 0));
    while rows.next().await.expect("a sum").is_some() {}
    assert_eq!(progress.rows_read(), 3);
    assert_eq!(progress.calls(), []);
}
