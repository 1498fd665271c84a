"""Functions of columns, in `select` and in SQL."""

import pyarrow as pa
import pytest
from pyspark.sql import functions as F

import anyudf
import anyudf.spark

from .conftest import workers

PLACES = ["origin_lat", "origin_lon", "dest_lat", "dest_lon"]
pytestmark = pytest.mark.skipif(not hasattr(F, "arrow_udf"), reason="Spark has Arrow UDFs from 4.1 on")


@pytest.fixture(scope="module")
def distance_miles(spark):
    return anyudf.spark.function(None, "distance_miles")


def test_its_type_is_that_of_the_catalogue(spark, distance_miles):
    assert distance_miles.returnType.simpleString() == "double" and distance_miles.deterministic


def test_every_row_gets_its_own_result(flights, distance_miles):
    miles = distance_miles(*PLACES)
    (row,) = flights.agg(F.avg(F.abs(miles - F.col("distance")) / F.col("distance")), F.count(miles)).collect()
    assert row[0] < 0.02 and row[1] == 120_000
    # Against the same function without Spark.
    rows = flights.select(*PLACES, miles.alias("miles")).limit(5000).toArrow().combine_chunks()
    with anyudf.Dispatcher() as dispatcher:
        alone = anyudf.run("distance_miles", rows.select(PLACES), worker=dispatcher)
    assert alone.column(0).to_pylist() == rows["miles"].to_pylist()


def test_sql_casts_what_it_gives(spark, flights, distance_miles):
    spark.udf.register("distance_miles", distance_miles)
    flights.createOrReplaceTempView("flights")
    (row,) = spark.sql("SELECT distance_miles(1, 2.5, CAST(3 AS FLOAT), 4L), distance_miles(1, 2, 3, NULL)").collect()
    assert row[0] == pytest.approx(172.7, abs=1) and row[1] is None
    found = spark.sql(
        "SELECT origin, max(distance_miles(origin_lat, origin_lon, dest_lat, dest_lon)) AS miles FROM flights"
        " WHERE distance_miles(origin_lat, origin_lon, dest_lat, dest_lon) > 2500 GROUP BY origin ORDER BY 2 DESC"
    ).collect()
    assert found and all(row.miles > 2500 for row in found)


def test_calls_may_stand_in_one_another(spark):
    @anyudf.udf
    def plus_one(x: int) -> int:
        return x + 1

    plus_one = anyudf.spark.function(plus_one)
    found = spark.range(0, 1000, 1, 3).select(plus_one(plus_one("id")), plus_one(F.col("id") * 2)).collect()
    assert sorted(found) == [(n + 2, 2 * n + 1) for n in range(1000)]


def test_partitions_without_rows_need_no_worker(spark, distance_miles):
    none = spark.range(100).where("id < 0").repartition(4).select(*[F.col("id").alias(name) for name in PLACES])
    assert none.select(distance_miles(*PLACES)).collect() == []


def test_who_has_enough_rows_asks_for_no_more(flights, distance_miles):
    assert len(flights.select(distance_miles(*PLACES)).limit(3).collect()) == 3
    assert workers(), "the worker has outlived the session"


def test_a_function_of_no_arguments_hears_of_rows_by_any_column(spark):
    @anyudf.udf
    def seven() -> int:
        return 7

    assert spark.range(5).select(anyudf.spark.function(seven)(F.lit(0))).collect() == [(7,)] * 5


@pytest.mark.parametrize(
    "name, error, words",
    [
        ("distance_mile", LookupError, "distance_miles"),
        ("explode_words", TypeError, "kind map"),
        ("generate_series", TypeError, "kind table"),
        (3, TypeError, "a name or a callable"),
    ],
)
def test_what_is_no_function_of_columns_is_refused_on_the_driver(spark, name, error, words):
    with pytest.raises(error, match=words):
        anyudf.spark.function(None, name)


def test_who_names_only_one_of_worker_and_function_is_told_what_is_missing(spark):
    with pytest.raises(TypeError, match=r"the worker is missing; .* function\(None, 'distance_miles'\)"):
        anyudf.spark.function("distance_miles")
    for worker in (["my-worker"], anyudf.spark.shipped("my-worker"), None):
        with pytest.raises(TypeError, match="the name is missing"):
            anyudf.spark.function(worker)


@pytest.mark.parametrize(
    "config, error, words",
    [
        ({"max_worker": 1}, TypeError, "function takes no `max_worker`; did you mean `max_workers`?"),
        ({"return": "long"}, TypeError, "function takes no `return`; did you mean `returns`?"),
        ({"idle_timeout": "soon"}, TypeError, "str"),
        ({"idle_timeout": -1}, ValueError, "idle_timeout=-1"),
    ],
)
def test_bounds_that_make_no_sense_are_refused_on_the_driver(spark, config, error, words):
    def same(x: int) -> int:
        return x

    with pytest.raises(error, match=words):
        anyudf.spark.function(same, **config)


@pytest.mark.parametrize(
    "call, words",
    [
        ("distance_miles(1, 2, 3)", "takes 4 arguments .* is given 3 columns"),
        ("distance_miles('north', 2, 3, 4)", "takes double for `lat1` .* is given string"),
    ],
)
def test_what_a_function_does_not_take_fails_the_query(spark, distance_miles, call, words):
    spark.udf.register("distance_miles", distance_miles)
    with pytest.raises(Exception, match=words):
        spark.sql(f"SELECT {call}").collect()


def test_python_functions_are_called_with_rows_arrays_or_batches(spark):
    @anyudf.udf(kind="batch", returns=pa.float64(), volatility="immutable")
    def fahrenheit(celsius: pa.DoubleArray):
        import pyarrow.compute as pc

        return pc.add(pc.multiply(celsius, 1.8), 32.0)

    def shout(text: str) -> str:
        return text.upper() + "!"

    found = spark.range(3).select(
        anyudf.spark.function(fahrenheit)(F.col("id").cast("int")), anyudf.spark.function(shout)(F.lit("hey"))
    )
    assert found.collect() == [(32.0, "HEY!"), (33.8, "HEY!"), (35.6, "HEY!")]


def test_options_travel_with_a_python_function(spark):
    @anyudf.udf
    def power(x: int, *, exponent: int = 1) -> int:
        return x**exponent

    squares = spark.range(4).select(anyudf.spark.function(power, options={"exponent": 2})("id"))
    assert squares.collect() == [(0,), (1,), (4,), (9,)]
    with pytest.raises(Exception, match="no option `exponents`"):
        anyudf.spark.function(power, options={"exponents": 2})
