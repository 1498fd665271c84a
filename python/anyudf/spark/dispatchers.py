"""One dispatcher for each worker specification in each process of Spark's.

Spark's Python processes are forked from a daemon, serve one task after the other, and end without running anything: by
`os._exit`, or by SIGKILL. So a dispatcher is made by the first task that needs it, after the fork, and kept for those that
follow; when its process is gone, the engine's watchdog ends the workers.
"""

import atexit
import os
import pickle

import anyudf

from .shipping import located

__all__ = ["close", "dispatcher"]

_open = {}


def dispatcher(worker, config):
    """The dispatcher of this process for a worker, as `anyudf.Dispatcher` takes both."""
    worker = located(worker)
    # Equal specifications are one, whatever objects they are.
    key = pickle.dumps((worker, sorted(config.items())))
    if key not in _open:
        _open[key] = anyudf.Dispatcher(worker, **config)
    return _open[key]


def close():
    """Closes the dispatchers of this process. Workers end; sessions that are open are cancelled (D12)."""
    while _open:
        _open.popitem()[1].close()


# Those of the parent are not ours: they say so themselves when they are used, and do nothing when they are dropped.
os.register_at_fork(after_in_child=_open.clear)
atexit.register(close)
