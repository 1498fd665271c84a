"""Builds the wheel (PEP 517): the extension module, by maturin, and the program `anyudf`, by cargo.

Both are built in the profile that the variable ANYUDF_PROFILE names, `release` without it. With `dev` they share what
`cargo test` has compiled. A program that is there already is taken from where ANYUDF_PROGRAM says.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import maturin
from maturin import get_requires_for_build_editable, get_requires_for_build_wheel  # noqa: F401  hooks of PEP 517

HERE = Path(__file__).resolve().parent


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    with _both_in_one_profile():
        return maturin.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    with _both_in_one_profile():
        return maturin.build_editable(wheel_directory, config_settings, metadata_directory)


def build_sdist(sdist_directory, config_settings=None):
    raise NotImplementedError("anyudf is built from its repository: pip install ./python in a clone of it")


class _both_in_one_profile:
    """The program is where maturin looks for it, and maturin builds in the same profile."""

    def __enter__(self):
        profile = os.environ.get("ANYUDF_PROFILE") or "release"
        _lay(os.environ.get("ANYUDF_PROGRAM") or _build_program(profile))
        self.before = os.environ.get("MATURIN_PEP517_ARGS")
        os.environ["MATURIN_PEP517_ARGS"] = f"--profile {profile} {self.before or ''}".strip()

    def __exit__(self, *_):
        if self.before is None:
            del os.environ["MATURIN_PEP517_ARGS"]
        else:
            os.environ["MATURIN_PEP517_ARGS"] = self.before


def _build_program(profile):
    """Builds `anyudf`, and returns where cargo has put it."""
    command = ["cargo", "build", "--bin", "anyudf", "--profile", profile, "--message-format", "json-render-diagnostics"]
    built = subprocess.run(command, cwd=HERE.parent, stdout=subprocess.PIPE, check=True, text=True)
    messages = (json.loads(line) for line in built.stdout.splitlines() if line.startswith("{"))
    return [Path(message["executable"]) for message in messages if message.get("executable")][-1]


def _lay(program):
    """Lays the program, without what only debuggers read, where maturin takes scripts from."""
    scripts = HERE / "anyudf.data" / "scripts"
    scripts.mkdir(parents=True, exist_ok=True)
    new = scripts / ".new"
    shutil.copy2(program, new)
    if shutil.which("strip"):
        subprocess.run(["strip", new], check=True)
    new.rename(scripts / "anyudf")
