"""The wheel as a whole."""

import importlib
import inspect
import pydoc
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import anyudf
from anyudf import _pyarrow


def test_the_wheel_carries_the_program():
    program = Path(sysconfig.get_path("scripts"), "anyudf")
    said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout.split() == ["anyudf", anyudf.__version__]


def test_the_package_is_typed():
    assert Path(anyudf.__file__).with_name("py.typed").exists()


def keywords(callable):
    found = inspect.signature(callable).parameters.values()
    return {p.name: (p.default, p.annotation) for p in found if p.kind == p.KEYWORD_ONLY}


def test_udf_has_the_keywords_of_a_function():
    assert keywords(anyudf.udf) == keywords(anyudf.Function)
    assert "kind" in keywords(anyudf.udf) and "kind: Literal['scalar'," in pydoc.render_doc(anyudf.udf)
    with pytest.raises(TypeError, match="kin"):
        anyudf.udf(len, kin="batch")


def test_what_is_written_twice_is_the_same():
    once = keywords(anyudf.run)
    assert once.pop("jobs")[0] == 1
    assert keywords(anyudf.run_async) == once


@pytest.mark.parametrize(
    "module, names",
    [
        ("engine", "Catalog Dispatcher FunctionInfo Payload Results Session bundled python_worker"),
        ("functions", "Cancelled Function invocation udf"),
        ("worker", "load main"),
    ],
)
def test_public_names_are_where_they_were(module, names):
    found = importlib.import_module(f"anyudf.{module}")
    assert set(names.split()) <= set(found.__all__)
    assert all(hasattr(found, name) for name in found.__all__)


def test_what_type_checkers_read_runs():
    program = Path(__file__).with_name("typed.py")
    ran = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=120)
    assert ran.stdout == "['fahrenheit', 'batch', 'count', 'Sum', 'aggregate', '2', 'finished'] 1\n", ran.stderr


def test_the_oldest_that_will_do_are_tested():
    here = Path(__file__).parents[1]
    bounds = re.search(r"^dependencies = (.*)$", (here / "pyproject.toml").read_text(), re.MULTILINE)
    oldest = (here / "requirements" / "oldest.txt").read_text()
    found = re.findall(r'"([\w-]+)>=([\d.]+)"', bounds[1])
    assert {name for name, _ in found} == {"pyarrow", "cloudpickle"}
    for name, version in found:
        assert re.search(rf"^{name}=={re.escape(version)}(\.0)*$", oldest, re.MULTILINE), name
    assert dict(found)["pyarrow"] == str(_pyarrow._NEEDED)
