"""Functions over the rows of DataFrames."""

import pyarrow as pa
import pytest
from pyspark.sql import functions as F

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
