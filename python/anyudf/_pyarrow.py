"""Whether the pyarrow that is here will do; imported before all else."""

import sys

import pyarrow

_NEEDED = 16

_major = pyarrow.__version__.split(".")[0]
if _major.isdigit() and int(_major) < _NEEDED:
    raise ImportError(
        f"pyarrow {pyarrow.__version__} is too old, at {pyarrow.__file__}: anyudf needs {_NEEDED} or newer, in {sys.executable}"
    )
