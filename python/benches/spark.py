"""What functions cost under Spark: its own Python functions, a worker in Rust, a worker in Python.

    python benches/spark.py FLIGHTS.parquet AIRPORTS.csv --logs target/release/examples/logs [--rounds 3]

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

import numpy
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

import anyudf
import anyudf.spark

HERE = str(Path(__file__).parent)
sys.path.insert(0, HERE)
import spark_functions as ours

PLACES = ["origin_lat", "origin_lon", "destination_lat", "destination_lon"]
CORES = 2
PYSPARK = "PySpark's mapInArrow"
RUST = "anyudf.spark, worker in Rust"
PYTHON = "anyudf.spark, worker in Python"
ALONE = "engine alone, worker in Python"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("flights")
    parser.add_argument("airports")
    parser.add_argument("--logs", required=True, help="the worker of crates/anyudf/examples/logs.rs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lines", type=int, default=3_000_000, help="how many lines the log has")
    arguments = parser.parse_args()
    spark = session()
    spark.sparkContext.addPyFile(f"{HERE}/spark_functions.py")
    with tempfile.TemporaryDirectory() as place:
        flights, log = made(spark, arguments, place)
        print(f"Spark {spark.version}, local[{CORES}], Python {sys.version.split()[0]}, pyarrow {pa.__version__}")
        miles = compared("distance between airports", distances(spark, flights), flights, arguments.rounds)
        lines = compared("lines of a log taken apart", parsed(spark, log, [arguments.logs]), log, arguments.rounds)
    spark.stop()
    print()
    for what, ratio, goal in [
        ("distance: worker in Rust / mapInArrow", miles[RUST] / miles[PYSPARK], 0.9),
        ("lines: worker in Rust / mapInArrow", lines[RUST] / lines[PYSPARK], 10),
        ("distance: engine alone, worker in Python / mapInArrow", miles[ALONE] / miles[PYSPARK], 2),
    ]:
        print(f"{what:56} {ratio:5.2f}, the goal is {goal}")


def session():
    return (
        SparkSession.builder.master(f"local[{CORES}]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.memory", "2g")
        # As for any batch job: what counts is how much is done, and not how long a pause is.
        .config("spark.driver.extraJavaOptions", "-XX:+UseParallelGC")
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
        *("origin", "destination", "delay", "distance"),
    )
    flights.limit(arguments.lines).select(line.alias("line")).repartition(4 * CORES).write.parquet(f"{place}/log")
    return f"{place}/flights", f"{place}/log"


def distances(spark, path):
    """The runs over the flights, each of which returns how far off the distance is in the mean."""
    rows = lambda: spark.read.parquet(path)
    error = F.avg(F.abs(F.col("miles") - F.col("distance")))
    rust = anyudf.spark.function(None, "distance_miles", spark=spark)
    python = anyudf.spark.function(ours.distance, spark=spark)

    def column(function):
        return lambda: rows().select(function(*PLACES).alias("miles"), "distance").agg(error).collect()[0][0]

    def beside():
        miles = anyudf.spark.map_in_arrow(rows(), "distance_miles", args=PLACES, append="miles")
        return miles.agg(error).collect()[0][0]

    return {
        PYSPARK: lambda: rows().mapInArrow(ours.errors, "error double").agg(F.avg("error")).collect()[0][0],
        RUST: column(rust),
        "anyudf.spark, worker in Rust, beside rows": beside,
        PYTHON: column(python),
        ALONE: engine_alone(
            anyudf.Dispatcher(anyudf.python_worker(), environment={"PYTHONPATH": HERE}), ours.distance, path
        ),
        "engine alone, worker in Rust": engine_alone(anyudf.Dispatcher(), "distance_miles", path),
    }


def engine_alone(dispatcher, function, path):
    """The same without Spark: reads the files, in as many sessions at once as Spark has cores."""
    files = sorted(Path(path).glob("*.parquet"))

    def part(files):
        published = []

        def batches():
            for file in files:
                for batch in pq.ParquetFile(file).iter_batches(10_000):
                    published.append(batch["distance"])
                    yield batch

        with dispatcher.session(function, args=PLACES) as session:
            miles = [batch.column(0) for batch in session.process(batches())]
        miles, published = (numpy.concatenate([column.to_numpy() for column in columns]) for columns in (miles, published))
        return numpy.abs(miles - published)

    def run():
        with ThreadPoolExecutor(CORES) as threads:
            parts = threads.map(part, [files[place::CORES] for place in range(CORES)])
            return float(numpy.concatenate(list(parts)).mean())

    return run


def parsed(spark, path, logs):
    """The runs over the log, each of which returns some of what was in the lines."""
    rows = lambda: spark.read.parquet(path)
    some = F.sum("bytes"), F.max("at"), F.count("path"), F.sum("status"), F.count("host")
    rust = anyudf.spark.function(logs, "parse_access", spark=spark)
    python = anyudf.spark.function(ours.parse, spark=spark)

    def column(function):
        return lambda: rows().select(function("line").alias("access")).select("access.*").agg(*some).collect()[0]

    def batches():
        accesses = anyudf.spark.map_in_arrow(rows(), "parse_access", worker=logs)
        return accesses.select("parse_access.*").agg(*some).collect()[0]

    access = f"access {rust.returnType.simpleString()}"
    return {
        PYSPARK: lambda: rows().mapInArrow(ours.accesses, access).select("access.*").agg(*some).collect()[0],
        RUST: batches,
        "anyudf.spark, worker in Rust, as a column": column(rust),
        PYTHON: column(python),
    }


def compared(what, runs, path, rounds):
    """Rows a second of each, by turns; all must give the same answer."""
    rows = pq.read_table(path, columns=[]).num_rows
    seconds = {name: [] for name in runs}
    # Three times, so that all that is done once is done and the JVM has compiled what it runs.
    answers = {name: [run() for _ in range(3)][-1] for name, run in runs.items()}
    (one, *others) = answers.values()
    for other in others:
        assert other == one or abs(other / one - 1) < 1e-9, answers
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    print(f"\n{what}: {rows:,} rows, {rounds} rounds")
    rates = {}
    for name, times in seconds.items():
        rates[name] = rows / statistics.median(times)
        slowest, quickest = rows / max(times), rows / min(times)
        print(f"  {name:44} {rates[name] / 1e6:6.2f} million rows/s  ({slowest / 1e6:.2f} to {quickest / 1e6:.2f})")
    return rates


if __name__ == "__main__":
    main()
