//! For random tables and queries, what comes through a worker is what DataFusion computes by itself.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyudf_datafusion::RegisterWorker;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use datafusion::arrow::compute::cast;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use datafusion::prelude::SessionConfig;
use proptest::prelude::*;
use proptest::strategy::Union;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::worker;

/// A row: the whole number, the fraction and the text of a table, each null or not.
type Row = (Option<i64>, Option<f64>, Option<String>);

/// A table: its rows, in partitions of batches of so many rows, and the types of its columns.
#[derive(Clone, Debug)]
struct Table {
    partitions: Vec<Vec<Vec<Row>>>,
    whole: DataType,
    fraction: DataType,
    text: DataType,
}

fn table() -> impl Strategy<Value = Table> {
    let text = prop_oneof![Just("a"), Just("bc"), Just(""), Just("déjà")].prop_map(String::from);
    let row = (
        proptest::option::weighted(0.8, -4..9_i64),
        proptest::option::weighted(0.8, (-8..9_i32).prop_map(|n| f64::from(n) / 4.0)),
        proptest::option::weighted(0.8, text),
    );
    let batch = proptest::collection::vec(row, 0..40);
    let partition = proptest::collection::vec(batch, 0..4);
    // No dictionaries of numbers: DataFusion's own joins stumble over them.
    let whole = prop_oneof![Just(DataType::Int8), Just(DataType::Int16), Just(DataType::Int32), Just(DataType::Int64),];
    let fraction = prop_oneof![Just(DataType::Float32), Just(DataType::Float64), Just(DataType::Decimal128(9, 3))];
    let text = prop_oneof![
        Just(DataType::Utf8),
        Just(DataType::LargeUtf8),
        Just(DataType::Utf8View),
        Just(DataType::Dictionary(Box::new(DataType::Int16), Box::new(DataType::Utf8))),
    ];
    (proptest::collection::vec(partition, 1..4), whole, fraction, text)
        .prop_map(|(partitions, whole, fraction, text)| Table { partitions, whole, fraction, text })
}

impl Table {
    fn register(&self, context: &SessionContext) {
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("n", self.whole.clone(), true),
            Field::new("junk", DataType::Boolean, true),
            Field::new("x", self.fraction.clone(), true),
            Field::new("s", self.text.clone(), true),
        ]));
        let mut id = 0;
        let mut batch = |rows: &Vec<Row>| {
            let ids: Vec<i64> = rows.iter().map(|_| (id += 1, id).1).collect();
            let of = |array: ArrayRef, to: &DataType| cast(&array, to).expect("it fits");
            let columns: Vec<ArrayRef> = vec![
                Arc::new(Int64Array::from(ids)),
                of(Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()), &self.whole),
                arrow_array::new_null_array(&DataType::Boolean, rows.len()),
                of(Arc::new(rows.iter().map(|row| row.1).collect::<Float64Array>()), &self.fraction),
                of(Arc::new(rows.iter().map(|row| row.2.as_deref()).collect::<StringArray>()), &self.text),
            ];
            RecordBatch::try_new(Arc::clone(&schema), columns).expect("columns of one length")
        };
        let partitions = self.partitions.iter().map(|batches| batches.iter().map(&mut batch).collect()).collect();
        let table = MemTable::try_new(Arc::clone(&schema), partitions).expect("batches of the schema");
        context.register_table("r", Arc::new(table)).expect("there is none now");
    }
}

/// Expressions in which `@` stands before each function.
fn whole() -> BoxedStrategy<String> {
    let leaf = prop_oneof![Just("n".to_string()), Just("id".to_string()), (-3..5_i64).prop_map(|n| n.to_string())];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let two = (inner.clone(), inner.clone());
        let condition = (condition_of(inner.clone()), inner.clone(), inner.clone());
        prop_oneof![
            inner.clone().prop_map(|a| format!("@double({a})")),
            two.clone().prop_map(|(a, b)| format!("@add({a}, {b})")),
            two.clone().prop_map(|(a, b)| format!("({a} + {b})")),
            two.prop_map(|(a, b)| format!("coalesce({a}, {b})")),
            condition.clone().prop_map(|(c, a, b)| format!("CASE WHEN {c} THEN {a} ELSE {b} END")),
            condition.prop_map(|(c, a, b)| format!(
                "CASE {a} WHEN 1 THEN {b} WHEN @double({b}) THEN 3 WHEN {a} THEN CASE WHEN {c} THEN 1 END END"
            )),
        ]
    })
    .boxed()
}

fn condition_of(whole: impl Strategy<Value = String> + Clone + 'static) -> BoxedStrategy<String> {
    let two = (whole.clone(), whole.clone());
    let leaf = Union::new([
        two.clone().prop_map(|(a, b)| format!("{a} < {b}")).boxed(),
        two.prop_map(|(a, b)| format!("{a} = {b}")).boxed(),
        whole.prop_map(|a| format!("{a} IS NULL")).boxed(),
        Just("@shout(s) LIKE 'B%'".to_string()).boxed(),
        Just("@half(x) > 0.3".to_string()).boxed(),
    ]);
    leaf.prop_recursive(2, 6, 2, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            two.clone().prop_map(|(a, b)| format!("({a} AND {b})")),
            two.prop_map(|(a, b)| format!("({a} OR {b})")),
            inner.prop_map(|a| format!("NOT ({a})")),
        ]
    })
    .boxed()
}

fn query() -> impl Strategy<Value = String> {
    let (e, c) = (whole, || condition_of(whole()));
    prop_oneof![
        (e(), e(), c()).prop_map(|(a, b, c)| format!("SELECT id, {a} AS a, {b} AS b FROM r WHERE {c} ORDER BY id")),
        // Ordered by a call, here and below, since DataFusion does not know every CASE again that it has ordered by.
        (e(), c()).prop_map(|(a, c)| format!("SELECT id, @shout(s), @half(x), junk FROM r WHERE {c} ORDER BY @add({a}, 1), id")),
        (e(), e(), c()).prop_map(|(a, b, c)| format!(
            "SELECT {a} AS a, count(*) AS n, sum({b}) FILTER (WHERE {c}) AS b FROM r GROUP BY {a} HAVING max({b}) > 0 ORDER BY 1, 2, 3"
        )),
        (e(), e(), c()).prop_map(|(a, b, c)| format!(
            "SELECT l.id AS i, k.id AS j FROM r AS l JOIN (SELECT * FROM (SELECT id, {a} AS n FROM r) AS q WHERE n > 2) AS k \
             ON @double(l.n) = k.n AND @add(l.id, k.id) > 3 WHERE l.id IN (SELECT {b} FROM r WHERE {c}) ORDER BY 1, 2"
        )),
        (e(), c()).prop_map(|(a, c)| format!(
            "SELECT l.id AS i, k.b FROM r AS l LEFT JOIN (SELECT id, {a} AS b FROM r WHERE {c}) AS k \
             ON @add(l.id, 1) = @double(k.id) AND @double(l.n) > 1 ORDER BY 1, 2"
        )),
        (e(), e(), c()).prop_map(|(a, b, c)| format!(
            "SELECT id, sum({a}) OVER (PARTITION BY @double({b}) ORDER BY id) AS w FROM (SELECT * FROM r WHERE {c} ORDER BY id LIMIT 20) AS r ORDER BY id"
        )),
        (e(), c()).prop_map(|(a, c)| format!(
            "SELECT id, {a} AS a FROM r WHERE {c} UNION ALL SELECT n, @double({a}) FROM r WHERE n IS NOT NULL ORDER BY 1, 2"
        )),
        (e(), e()).prop_map(|(a, b)| format!("SELECT DISTINCT {a} AS a, {b} AS b FROM r ORDER BY 1, 2 LIMIT 7")),
    ]
}

/// The worker's functions, in this process, under the schema `here`.
fn register_here(context: &SessionContext) {
    use DataType::{Float64, Int64, Utf8};
    fn over(
        name: &str,
        arguments: Vec<DataType>,
        result: DataType,
        of: impl Fn(&[ArrayRef]) -> ArrayRef + Send + Sync + 'static,
    ) -> datafusion::logical_expr::ScalarUDF {
        let implementation =
            move |columns: &[ColumnarValue]| Ok(ColumnarValue::Array(of(&ColumnarValue::values_to_arrays(columns)?)));
        create_udf(&format!("here.{name}"), arguments, result, Volatility::Immutable, Arc::new(implementation))
    }
    fn ints(column: &ArrayRef) -> &Int64Array {
        column.as_primitive::<Int64Type>()
    }
    context.register_udf(over("double", vec![Int64], Int64, |columns| {
        Arc::new(ints(&columns[0]).iter().map(|n| n.map(|n| n.wrapping_mul(2))).collect::<Int64Array>())
    }));
    context.register_udf(over("add", vec![Int64, Int64], Int64, |columns| {
        let pairs = ints(&columns[0]).iter().zip(ints(&columns[1]).iter());
        Arc::new(pairs.map(|(a, b)| Some(a?.wrapping_add(b?))).collect::<Int64Array>())
    }));
    context.register_udf(over("half", vec![Float64], Float64, |columns| {
        Arc::new(columns[0].as_primitive::<Float64Type>().iter().map(|x| x.map(|x| x / 2.0)).collect::<Float64Array>())
    }));
    context.register_udf(over("shout", vec![Utf8], Utf8, |columns| {
        let loud = |text: Option<&str>| text.map_or("(nothing)".into(), str::to_uppercase);
        Arc::new(StringArray::from_iter_values(columns[0].as_string::<i32>().iter().map(loud)))
    }));
}

async fn answer(context: &SessionContext, query: &str) -> Result<String, String> {
    let run = async { context.sql(query).await?.collect().await };
    let batches = run.await.map_err(|error| error.to_string())?;
    let table = pretty_format_batches(&batches).expect("it can be shown").to_string();
    // Not the first, which has the names of the functions.
    let lines = table.lines().filter(|line| line.starts_with('|')).skip(1);
    let cells = |line: &str| line.split('|').map(str::trim).collect::<Vec<_>>().join("|");
    Ok(lines.map(cells).collect::<Vec<_>>().join("\n"))
}

#[test]
fn the_answer_through_a_worker_is_the_one_without() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    // One that takes calls together, and one that takes them one by one.
    let dispatchers = runtime.block_on(async { [worker::dispatcher(), worker::plain()] });
    // Failures would be kept in a file beside this one.
    let config = Config { failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let cases = (table(), proptest::collection::vec(query(), 1..4), 1..4_usize, 1..50_usize, 0..2_usize);
    let (mut asked, mut answered) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let check = |(table, queries, partitions, batch, worker): (Table, Vec<String>, usize, usize, usize)| {
        runtime.block_on(async {
            let mut config = SessionConfig::new().with_target_partitions(partitions).with_batch_size(batch);
            // DataFusion thinks of some CASEs that they are never null, forgets why once their parts are columns of their
            // own, and takes that for a fault of the plan.
            config.options_mut().execution.skip_physical_aggregate_schema_check = true;
            let context = SessionContext::new_with_config(config);
            context.register_worker(dispatchers[worker].clone()).await.expect("it tells its functions");
            register_here(&context);
            table.register(&context);
            for query in &queries {
                let here = answer(&context, &query.replace('@', "here.")).await;
                let there = answer(&context, &query.replace('@', "")).await;
                asked.fetch_add(1, Relaxed);
                let mut report = String::new();
                let _ = writeln!(report, "{query}\nhere: {here:?}\nthere: {there:?}");
                match (here, there) {
                    // An overflow is one wherever it is; which of several errors comes first is nobody's promise.
                    (Err(_), _) => {}
                    (Ok(here), Ok(there)) if here == there => drop(answered.fetch_add(1, Relaxed)),
                    _ => return Err(TestCaseError::fail(report)),
                }
            }
            Ok(())
        })
    };
    TestRunner::new(config).run(&cases, check).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(*answered.get_mut() * 10 > *asked.get_mut() * 9, "{answered:?} of {asked:?} queries have an answer at all");
    for dispatcher in dispatchers {
        runtime.block_on(dispatcher.close());
    }
}
