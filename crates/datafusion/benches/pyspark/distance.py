"""The distance of flights in PySpark: mapInArrow with numpy, local[2].

For each line on standard input it runs the query once and prints the seconds it took and the answer.
"""

import sys
import time

import numpy
import pyarrow
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

flights_path, airports_path = sys.argv[1:]
spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.ui.enabled", "false")
    .config("spark.ui.showConsoleProgress", "false")
    .config("spark.sql.shuffle.partitions", "2")
    .config("spark.driver.memory", "2g")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")

flights = spark.read.parquet(flights_path)
airports = spark.read.csv(airports_path, header=True, inferSchema=True).select("iata", "latitude", "longitude")


def at(end):
    """The airports, under the names of one end of a flight."""
    return F.broadcast(airports.toDF(end, f"{end}_lat", f"{end}_lon"))


def errors(batches):
    """How far the distance is from the published one."""
    for batch in batches:
        column = lambda name: batch.column(name).to_numpy(zero_copy_only=False)
        lat1, lon1, lat2, lon2 = (
            numpy.radians(column(name)) for name in ("origin_lat", "origin_lon", "destination_lat", "destination_lon")
        )
        half_lat, half_lon = numpy.sin((lat2 - lat1) / 2), numpy.sin((lon2 - lon1) / 2)
        chord = half_lat**2 + numpy.cos(lat1) * numpy.cos(lat2) * half_lon**2
        miles = 2 * 3958.7613 * numpy.arcsin(numpy.sqrt(numpy.clip(chord, 0, 1)))
        yield pyarrow.record_batch({"error": numpy.abs(miles - column("distance"))})


def query():
    """A new one each time: Spark does not do again what it has done for the same one."""
    joined = flights.join(at("origin"), "origin").join(at("destination"), "destination")
    needed = joined.select("origin_lat", "origin_lon", "destination_lat", "destination_lon", "distance")
    return needed.mapInArrow(errors, "error double").agg(F.avg("error"))


print("ready", flush=True)
for _ in sys.stdin:
    began = time.perf_counter()
    (answer,) = query().collect()[0]
    print(time.perf_counter() - began, answer, flush=True)
spark.stop()
