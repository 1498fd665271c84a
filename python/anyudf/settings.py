"""What bounds a dispatcher and its workers: the keywords of `anyudf.Dispatcher`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TypedDict

__all__ = ["Settings", "refuse_unknown"]


class Settings(TypedDict, total=False):
    """The keywords. Times are in seconds, sizes in bytes; None is what there is without a word."""

    # ---- the pool

    #: How many processes there are at most. 8.
    max_workers: int | None
    #: How many idle ones are kept ready. 0: they are started when somebody asks.
    min_idle: int | None
    #: How many sessions share a worker that can have several. As many as it says; one, in a worker of Python functions.
    sessions_per_worker: int | None
    #: How long a session waits for a worker. 60.
    wait_timeout: float | None
    #: How long a worker may be idle before it is ended. 60.
    idle_timeout: float | None
    #: How old a worker may become, and how many sessions it may serve, before another takes its place. Any.
    max_age: float | None
    max_sessions: int | None
    #: How much resident memory a worker may hold before it is ended, and its sessions fail. Any.
    memory_limit: int | None
    #: How long the neighbours of a call that is overdue may go on before their worker is ended. 30.
    drain_timeout: float | None

    # ---- the health of workers

    #: How often a worker is asked whether it is well (5), and after how many answers that did not come it is given up (3).
    heartbeat_interval: float | None
    heartbeat_misses: int | None
    #: A worker that was idle for longer than this is asked before it gets a session (1); how long that may take (1).
    check_after: float | None
    check_timeout: float | None
    #: At which failed start of a worker its caller is told. 3.
    start_attempts: int | None
    #: The pause after a crash (0.1), which doubles with each, and how long it becomes (10).
    backoff_initial: float | None
    backoff_max: float | None
    #: How long a process may take to answer for the first time (10), and to end when it is told to (5).
    start_timeout: float | None
    termination_timeout: float | None
    #: The most that a specification may ask for in these. 30.
    max_timeout: float | None
    #: How long the programs may take that a specification has for its environment. 120.
    environment_timeout: float | None

    # ---- sessions

    #: How long a function may take to be opened. 30.
    init_timeout: float | None
    #: How long a worker may take to acknowledge that a session is cancelled (5), or interrupted (2).
    cancel_timeout: float | None
    interrupt_timeout: float | None
    #: How long a worker whose turn it is may be silent. Any time: slow functions are welcome.
    idle_limit: float | None
    #: Whether data may go before the function is open, in workers that allow it. False.
    pipelining: bool | None
    #: Of about how many bytes a message is. 1.375 MiB.
    message_bytes: int | None
    #: How much input may wait in this process while the worker is slow. 1 MiB.
    input_bytes: int | None
    #: How large a message of a worker's may be. 128 MiB.
    max_message_bytes: int | None


def refuse_unknown(given: Iterable[str], who: str = "a dispatcher", also: Iterable[str] = ()) -> None:
    """Raises `TypeError` for the first that is no setting, and none of `also`, with what may have been meant.

    >>> refuse_unknown(["max_worker"])
    Traceback (most recent call last):
    TypeError: a dispatcher takes no `max_worker`; did you mean `max_workers`?
    """
    known = [*Settings.__annotations__, *also]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name.lower(), known)
            meant = f"did you mean {' or '.join(f'`{one}`' for one in near)}?" if near else f"there are {', '.join(known)}"
            raise TypeError(f"{who} takes no `{name}`; {meant}")
