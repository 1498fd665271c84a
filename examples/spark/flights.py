"""Flights in Spark, with functions in processes of their own: one in Rust, which comes with anyudf, and one in Python.

    python examples/spark/flights.py
    spark-submit --master spark://… examples/spark/flights.py hdfs:///flights.parquet

Needs `pip install ./python 'pyspark==4.3.0' 'pandas<3'` here and on the executors, in the environment that is active or that
PYSPARK_PYTHON names. docs/spark.md tells the rest.
"""

import sys
from pathlib import Path

from pyspark.sql import SparkSession

import anyudf.spark

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "flights-sample.parquet"


def season(month: int) -> str:
    """Runs in a Python process of its own, beside Spark's."""
    return ("winter", "spring", "summer", "autumn")[month % 12 // 3]


spark = SparkSession.builder.appName("flights").getOrCreate()
spark.udf.register("distance_miles", anyudf.spark.function(None, "distance_miles"))
spark.udf.register("season", anyudf.spark.function(season))

spark.read.parquet(sys.argv[1] if len(sys.argv) > 1 else str(SAMPLE)).createOrReplaceTempView("flights")
spark.sql(
    """
    SELECT season(month(date)) AS season, count(*) AS flights, avg(delay) AS delay,
        avg(distance_miles(origin_lat, origin_lon, dest_lat, dest_lon)) AS miles
    FROM flights GROUP BY 1 ORDER BY miles DESC
    """
).show()
spark.stop()
