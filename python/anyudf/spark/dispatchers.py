"""One dispatcher for each worker specification in each process of Spark's.

Spark's Python processes are forked from a daemon, serve one task after the other, and end without running anything: by
`os._exit`, or by SIGKILL. So a dispatcher is made by the first task that needs it, after the fork, and kept for those that
follow; when its process is gone, the engine's watchdog ends the workers.
"""

import os
import pickle
import sys

import anyudf

from .shipping import located

__all__ = ["PYTHON", "dispatcher", "made"]

PYTHON = "python"
"""The worker for functions of the interpreter that asks, wherever that is."""

_kept: dict[bytes, anyudf.Dispatcher] = {}


def dispatcher(worker, config):
    """The dispatcher of this process for a worker."""
    # Equal specifications are one, whatever objects they are; what they find may have changed with the query.
    key = pickle.dumps((located(worker), sorted(config.items()), sys.path if worker == PYTHON else None))
    if key not in _kept:
        _kept[key] = made(worker, config)
    return _kept[key]


def made(worker, config, **environment):
    """A new dispatcher, with the configuration of `anyudf.Dispatcher`; `environment` is beside what that says of it."""
    if worker == PYTHON:
        # Functions may name modules that Spark has brought, by addPyFile or as artifacts.
        environment["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, sys.path))
        worker = anyudf.python_worker()
    environment.update(config.get("environment", {}))
    return anyudf.Dispatcher(located(worker), **{**config, "environment": environment})


# Those of the parent are not ours: they say so themselves when they are used, and do nothing when they are dropped.
os.register_at_fork(after_in_child=_kept.clear)
