"""The wheel as a whole."""

import importlib
import inspect
import os
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


# A Python of another version: it says so, and makes environments of itself in which nothing is installed or tested.
PYTHON = """#!/bin/sh
case "$1 $2" in
-c*) exec {real} -c 'import sys; sys.version_info = {version}; exec(sys.argv[1])' "$2" ;;
"-m venv")
    echo "{name} ${{3##*/}}" >>{log}
    mkdir -p "$3/bin"
    cp "$0" "$3/bin/python"
    printf '#!/bin/sh\n' >"$3/bin/pytest"
    chmod +x "$3/bin/pytest"
    ;;
esac
"""
NAMES = ["mine", "python3", "python3.12", "python3.11", "python3.10"]


def made_and_said(place, kind, versions, **environment):
    """What `python/test` makes, and of which Python, where there are these versions; and what it says."""
    log = place / "log"
    log.touch()
    for name in NAMES:
        program = place / name
        text = PYTHON if name in versions else "#!/bin/sh\nexit 127\n"
        program.write_text(text.format(real=sys.executable, version=versions.get(name), name=name, log=log))
        program.chmod(0o755)
    path = f"{place}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PYTHON": "", **environment, "PATH": path, "ANYUDF_CACHE": str(place)}
    program = Path(__file__).parents[1] / "test"
    ran = subprocess.run([program, *kind, "nothing"], env=environment, capture_output=True, text=True, timeout=60)
    made = dict(reversed(line.split()) for line in log.read_text().splitlines())
    assert (ran.returncode == 0) == bool(made), ran.stderr
    return made, ran.stderr


@pytest.mark.parametrize(
    ("versions", "chosen"),
    [
        ({"python3": (3, 13), "python3.12": (3, 12), "python3.11": (3, 11)}, "python3.12"),
        ({"python3": (3, 14), "python3.10": (3, 10)}, "python3.10"),
        ({"python3": (3, 11)}, "python3"),
        ({"python3": (3, 13), "python3.12": (3, 12), "mine": (3, 10)}, "mine"),
        ({"python3": (3, 12), "mine": (3, 14)}, "python3"),
    ],
)
def test_the_oldest_are_tested_with_a_python_that_they_were_made_for(tmp_path, versions, chosen):
    first = "mine" if "mine" in versions else "python3"
    made, _ = made_and_said(tmp_path, ["--oldest"], versions, PYTHON=first)
    assert made == {"build": first, "oldest": chosen}


@pytest.mark.parametrize(
    ("kind", "version", "words"),
    [
        ([], (3, 10), "need Python 3.11 or later, and `python3` is 3.10"),
        (["--spark"], (3, 10), "need Python 3.11 or later, and `python3` is 3.10"),
        (["--oldest"], (3, 13), "need Python 3.10, 3.11 or 3.12"),
        (["--oldest"], (3, 9), "no Python 3.10 or later as `python3`"),
    ],
)
def test_a_python_that_will_not_do_for_the_tests_is_told(tmp_path, kind, version, words):
    made, said = made_and_said(tmp_path, kind, {"python3": version})
    assert not made and words in said
