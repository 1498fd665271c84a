"""Functions over the rows of DataFrames."""

import datetime

import pytest
from pyspark.sql import functions as F

import anyudf
import anyudf.spark

PLACES = ["origin_lat", "origin_lon", "dest_lat", "dest_lon"]


def test_a_result_is_put_behind_each_row(spark, flights):
    found = anyudf.spark.map_in_arrow(flights, "distance_miles", args=PLACES, append="miles")
    assert found.columns == [*flights.columns, "miles"]
    assert found.schema["miles"].dataType.simpleString() == "double"
    (row,) = found.select(F.avg(F.abs(F.col("miles") - F.col("distance")) / F.col("distance")), F.count("*")).collect()
    assert row[0] < 0.02 and row[1] == 120_000


def test_without_column_a_function_returns_what_it_returns(spark, flights):
    found = anyudf.spark.map_in_arrow(flights, "distance_miles", args=PLACES)
    assert found.columns == ["distance_miles"] and found.count() == 120_000


def test_a_map_returns_as_many_rows_as_it_likes(spark):
    texts = spark.createDataFrame([("a b c",), ("",), (None,), ("d",)], "text string").repartition(3)
    found = anyudf.spark.map_in_arrow(texts, "explode_words")
    assert found.schema.simpleString() == "struct<word:string,position:bigint>"
    assert sorted(found.collect()) == [("a", 1), ("b", 2), ("c", 3), ("d", 1)]


def test_what_depends_on_the_input_is_asked_for_it(spark):
    rows = spark.createDataFrame([(1, "a", [1.5]), (2, None, None)], "n int, s string, l array<double>")
    found = anyudf.spark.map_in_arrow(rows, "echo_batches", args=["l", "n"])
    assert found.schema.simpleString() == "struct<l:array<double>,n:int>"
    assert found.collect() == [([1.5], 1), (None, 2)]


def test_all_of_sparks_types_go_there_and_back(spark):
    # fmt: off
    row = (
        True, 1, 2, 3, 4, 0.5, 0.25, "Zürich", b"\0\1", datetime.date(2001, 1, 15),
        datetime.datetime(2001, 7, 15, 8, 12, 31, 5), datetime.datetime(2001, 7, 15, 8, 12, 31),
        datetime.timedelta(days=1, microseconds=3), [1, None], {"a": 1.5}, (1, "x"),
    )
    # fmt: on
    schema = (
        "a boolean, b tinyint, c smallint, d int, e bigint, f float, g double, h string, i binary, j date, k timestamp,"
        " l timestamp_ntz, m interval day to second, n array<int>, o map<string, double>, p struct<q: int, r: string>"
    )
    rows = spark.createDataFrame([row, (None,) * 16], schema)
    same = anyudf.spark.map_in_arrow(rows, "echo_batches")
    assert same.schema == rows.schema and same.collect() == rows.collect()


def test_a_callable_is_what_map_in_arrow_takes(spark):
    def halves(batches):
        import pyarrow as pa

        for batch in batches:
            yield pa.record_batch({"half": pa.array([n.as_py() / 2 for n in batch.column("id")])})

    rows = spark.range(0, 10, 1, 2)
    found = anyudf.spark.map_in_arrow(rows, halves, schema="half double")
    assert found.collect() == rows.mapInArrow(halves, "half double").collect()


def test_partitions_without_rows_are_told_of_too(spark):
    def count(batches):
        import pyarrow as pa

        yield pa.record_batch({"rows": [sum(batch.num_rows for batch in batches)]})

    rows = spark.range(10).where("id < 3").repartition(4)
    found = anyudf.spark.map_in_arrow(rows, count, schema="rows long").collect()
    assert len(found) == 4 and sum(row.rows for row in found) == 3


def test_a_function_of_no_arguments_is_given_none_unless_somebody_chose_them(spark):
    @anyudf.udf
    def seven() -> int:
        return 7

    rows = spark.range(3)
    assert sorted(anyudf.spark.map_in_arrow(rows, seven, append="n").collect()) == [(0, 7), (1, 7), (2, 7)]
    with pytest.raises(TypeError, match="`seven` takes 0 arguments, and is given 1 column$"):
        anyudf.spark.map_in_arrow(rows, seven, args=["id"], append="n")


def test_columns_are_matched_by_name(spark):
    def swapped(batches):
        import pyarrow as pa

        for batch in batches:
            yield pa.record_batch({"b": batch.column("id"), "a": ["x"] * batch.num_rows})

    found = anyudf.spark.map_in_arrow(spark.range(2), swapped, schema="a string, b long")
    assert found.collect() == [("x", 0), ("x", 1)]
    missing = anyudf.spark.map_in_arrow(spark.range(2), swapped, schema="a string, c long")
    with pytest.raises(Exception, match="`swapped`.* `?c`?"):
        missing.collect()


def test_results_and_rows_need_not_come_in_the_same_batches(spark):
    # Batches of 3 rows from Spark, of 7 from the function.
    def sevens(batches):
        import pyarrow as pa

        table = pa.Table.from_batches(batches)
        squares = pa.array([n * n for n in table["id"].to_pylist()])
        for from_ in range(0, len(squares), 7):
            yield pa.record_batch({"square": squares[from_ : from_ + 7]})

    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "3")
    try:
        found = anyudf.spark.map_in_arrow(spark.range(0, 50, 1, 2), sevens, schema="square long", append="square")
        assert found.collect() == [(n, n * n) for n in range(50)]
    finally:
        spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")


@pytest.mark.parametrize(
    "said, error, words",
    [
        ({"function": "distance_mile"}, LookupError, "has no function `distance_mile`; it has .*distance_miles"),
        ({"function": "distance_miles"}, TypeError, "takes 4 arguments .*, and is given 2 columns"),
        ({"function": "generate_series"}, TypeError, "table function"),
        ({"function": "explode_words", "args": ["n"]}, TypeError, "takes string for `text` .* is given int32"),
        ({"function": "explode_words", "args": ["t"]}, TypeError, "no column `t`; it has n, text"),
        ({"function": "explode_words", "args": ["text"], "append": "w"}, TypeError, "returns 2"),
        ({"function": "echo_batches", "args": ["n"], "append": "text"}, TypeError, "has a column `text` already"),
        ({"function": 7}, TypeError, "a name or a callable"),
        ({"function": list, "shema": "a int"}, TypeError, "map_in_arrow takes no `shema`; did you mean `schema`"),
        ({"function": "f", "schema": 7}, TypeError, "a schema is text"),
        ({"function": anyudf.Payload("echo", b""), "args": ["n"]}, TypeError, "say what it returns"),
    ],
)
def test_what_can_not_be_is_refused_on_the_driver(spark, said, error, words):
    rows = spark.createDataFrame([(1, "a")], "n int, text string")
    with pytest.raises(error, match=words):
        anyudf.spark.map_in_arrow(rows, **said)


def test_a_dispatcher_stays_where_it_is(spark):
    with anyudf.Dispatcher() as dispatcher, pytest.raises(TypeError, match="give what it was made of"):
        anyudf.spark.map_in_arrow(spark.range(1), "echo_batches", worker=dispatcher)


def test_who_says_the_schema_needs_no_worker_on_the_driver(spark, tmp_path):
    worker = tmp_path / "comes-later"
    found = anyudf.spark.map_in_arrow(
        spark.range(3).selectExpr("id AS a", "id AS b", "id AS c", "id AS d"),
        "distance_miles",
        worker=[str(worker)],
        schema="distance_miles double",
        append="miles",
    )
    worker.write_text(f'#!/bin/sh\nexec {" ".join(anyudf.engine.bundled())} "$@"\n')
    worker.chmod(0o755)
    # The executors ask it what it takes, so whole numbers will do.
    assert [row.miles for row in found.collect()] == pytest.approx([0, 0, 0])
