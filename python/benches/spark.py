"""What functions cost under Spark: its own Python functions, a worker in Rust, a worker in Python.

    python benches/spark.py FLIGHTS.parquet AIRPORTS.csv --logs target/release/examples/logs [--rounds 5]

Two functions: the distance between a flight's airports, which numpy is good at, and the lines of an access log taken apart,
which Python does row by row. FLIGHTS are the 3,000,000 of `data/README.md`, or the sample. All runs take turns, so that
whatever else the machine does hits them alike; what is printed is the median, in rows a second, and how far the quickest and
the slowest are from it. Build the wheel and the example in release for this.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# Some machines tune it for another processor.
for variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(variable, None)
os.environ["PYSPARK_PYTHON"] = sys.executable

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

import anyudf
import anyudf.spark

sys.path.insert(0, str(Path(__file__).parent))
import spark_functions as ours

PLACES = ["origin_lat", "origin_lon", "destination_lat", "destination_lon"]
CORES = 2


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("flights")
    parser.add_argument("airports")
    parser.add_argument("--logs", required=True, help="the worker of crates/anyudf/examples/logs.rs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lines", type=int, default=1_000_000, help="how many lines the log has")
    arguments = parser.parse_args()
    spark = session()
    with tempfile.TemporaryDirectory() as place:
        flights, log = made(spark, arguments, place)
        print(f"Spark {spark.version}, local[{CORES}], Python {sys.version.split()[0]}, pyarrow {pa.__version__}")
        miles = compared("distance between airports", distances(spark, flights), flights, arguments.rounds)
        lines = compared("lines of a log", parsed(spark, log, [arguments.logs]), log, arguments.rounds)
    spark.stop()
    goals = [
        ("distance: worker in Rust / mapInArrow", miles["anyudf, Rust"] / miles["mapInArrow"], 0.9),
        ("lines: worker in Rust / mapInArrow", lines["anyudf, Rust"] / lines["mapInArrow"], 10),
        ("distance: worker in Python, engine alone / mapInArrow", miles["engine alone, Python"] / miles["mapInArrow"], 2),
    ]
    for what, ratio, goal in goals:
        print(f"{what}: {ratio:.2f} (goal {goal})")


def session():
    return (
        SparkSession.builder.master(f"local[{CORES}]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.memory", "2g")
        .config("spark.sql.shuffle.partitions", str(CORES))
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.log.level", "ERROR")
        .getOrCreate()
    )


def made(spark, arguments, place):
    """The flights with the places of their airports, and a log of as many requests for them: files of Parquet."""
    airports = spark.read.csv(arguments.airports, header=True, inferSchema=True).select("iata", "latitude", "longitude")
    at = lambda end: F.broadcast(airports.toDF(end, f"{end}_lat", f"{end}_lon"))
    flights = spark.read.parquet(arguments.flights).select("date", "delay", "distance", "origin", "destination")
    joined = flights.join(at("origin"), "origin").join(at("destination"), "destination").repartition(4 * CORES)
    joined.select(*PLACES, "distance").write.parquet(f"{place}/flights")
    line = F.format_string(
        '10.%d.%d.%d - - [%s +0000] "GET /flights/%s/%s?delay=%d HTTP/1.1" 200 %d "-" "Mozilla/5.0"',
        *(F.abs(F.hash("date", "origin", F.lit(part))) % 256 for part in range(3)),
        F.date_format("date", "dd/MMM/yyyy:HH:mm:ss"),
        "origin", "destination", "delay", "distance",
    )
    flights.limit(arguments.lines).select(line.alias("line")).repartition(4 * CORES).write.parquet(f"{place}/log")
    return f"{place}/flights", f"{place}/log"


def distances(spark, path):
    """The runs over the flights, each of which returns how far off the distance is in the mean."""
    rows = lambda: spark.read.parquet(path)
    batches = pq.read_table(path, columns=PLACES).combine_chunks().to_batches(max_chunksize=10_000)
    published = pq.read_table(path, columns=["distance"])["distance"]
    error = F.avg(F.abs(F.col("miles") - F.col("distance")))
    rust = anyudf.spark.function(None, "distance_miles", spark=spark)
    python = anyudf.spark.function(ours.distance, spark=spark)

    def column(function):
        return lambda: rows().select(function(*PLACES).alias("miles"), "distance").agg(error).collect()[0][0]

    def beside(**how):
        return lambda: anyudf.spark.map_in_arrow(rows(), args=PLACES, append="miles", **how).agg(error).collect()[0][0]

    return {
        "mapInArrow": lambda: rows().mapInArrow(ours.errors, "error double").agg(F.avg("error")).collect()[0][0],
        "anyudf, Rust": column(rust),
        "anyudf, Python": column(python),
        "anyudf, Rust, map_in_arrow": beside(function="distance_miles"),
        "engine alone, Python": engine_alone(ours.distance, batches, published),
        "engine alone, Rust": engine_alone("distance_miles", batches, published),
    }


def parsed(spark, path, logs):
    """The runs over the log, each of which returns how many bytes were sent."""
    rows = lambda: spark.read.parquet(path)
    batches = pq.read_table(path).combine_chunks().to_batches(max_chunksize=10_000)
    total = F.sum("access.bytes"), F.max("access.at"), F.max("access.path")
    rust = anyudf.spark.function(logs, "parse_access", spark=spark)
    python = anyudf.spark.function(ours.parse, spark=spark)
    access = anyudf.spark.types.to_spark(ours.ACCESS).simpleString()
    return {
        "mapInArrow": lambda: rows().mapInArrow(ours.accesses, f"access {access}").agg(*total).collect()[0],
        "anyudf, Rust": lambda: rows().select(rust("line").alias("access")).agg(*total).collect()[0],
        "anyudf, Python": lambda: rows().select(python("line").alias("access")).agg(*total).collect()[0],
    }


def engine_alone(function, batches, published):
    """A run without Spark: the engine, and as many sessions at once as Spark has cores."""
    dispatcher = anyudf.Dispatcher(worker_of(function), max_workers=CORES)
    parts = [batches[place::CORES] for place in range(CORES)]

    def part(batches):
        with dispatcher.session(function) as session:
            return [batch.column(0) for batch in session.process(batches)]

    def run():
        with ThreadPoolExecutor(CORES) as threads:
            return sum(len(column) for columns in threads.map(part, parts) for column in columns)

    return run


def compared(what, runs, path, rounds):
    """Rows a second of each, by turns; all must give the same answer."""
    rows = pq.read_table(path, columns=[]).num_rows
    seconds = {name: [] for name in runs}
    answers = {name: run() for name, run in runs.items()}  # and all that is done once is done
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    print(f"\n{what}: {rows:,} rows, {rounds} rounds")
    rates = {}
    for name, times in seconds.items():
        rates[name] = rows / statistics.median(times)
        print(f"  {name:28} {rates[name] / 1e6:6.2f} million rows/s  ({rows / max(times) / 1e6:.2f} to {rows / min(times) / 1e6:.2f})")
    return rates


if __name__ == "__main__":
    main()
