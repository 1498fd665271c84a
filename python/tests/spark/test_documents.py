"""The examples of docs/spark.md run, as one program, with what they suppose to be there."""

import ast
import re
import shutil
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "spark.md"

# In the stead of the guide's worker in Rust, which nobody has built here.
WORKER = """\
#!{python}
import anyudf

@anyudf.udf(volatility="immutable")
def warmer(first: float, second: float) -> float:
    return (abs(first) - abs(second)) * 0.7

anyudf.serve()
"""


@pytest.fixture
def geo(tmp_path):
    """The guide's worker, and the archive of it."""
    worker = tmp_path / "geo" / "bin" / "geo"
    worker.parent.mkdir(parents=True)
    worker.write_text(WORKER.format(python=sys.executable))
    worker.chmod(0o755)
    archive = shutil.make_archive(str(tmp_path / "geo"), "gztar", tmp_path / "geo")
    return SimpleNamespace(worker=worker, archive=archive)


@pytest.mark.skipif(not hasattr(F, "arrow_udf"), reason="Spark has Arrow UDFs from 4.1 on")
def test_the_guides_examples_run(spark, flights, geo):
    examples = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(examples) == 3
    program = "\n".join(map(textwrap.dedent, examples)).replace("/opt/geo/bin/geo", str(geo.worker))
    program = program.replace("geo.tar.gz", str(geo.archive))
    there = {"spark": spark, "flights": flights, "texts": spark.createDataFrame([("a b",), (None,)], "text string")}
    rows = []
    for statement in ast.parse(program).body:
        # What is only written down is a DataFrame, which nobody has asked for its rows.
        if isinstance(statement, ast.Expr):
            value = eval(compile(ast.Expression(statement.value), str(GUIDE), "eval"), there)
        else:
            exec(compile(ast.Module([statement], []), str(GUIDE), "exec"), there)
            value = there[statement.targets[0].id] if isinstance(statement, ast.Assign) else None
        if isinstance(value, DataFrame):
            rows.append(value.toArrow().num_rows)
    origins, late = flights.select("origin").distinct().count(), flights.where("delay > 60").count()
    assert rows == [120_000, origins, 2, 120_000, late]
    # The last one is that of the archive.
    assert flights.select(there["warmer"]("origin_lat", "dest_lat")).toArrow().num_rows == 120_000
