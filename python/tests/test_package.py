"""The wheel as a whole."""

import subprocess
import sysconfig
from pathlib import Path

import anyudf


def test_the_wheel_carries_the_program():
    program = Path(sysconfig.get_path("scripts"), "anyudf")
    said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout.split() == ["anyudf", anyudf.__version__]


def test_the_package_is_typed():
    assert Path(anyudf.__file__).with_name("py.typed").exists()
