"""A worker in Python: the standard library, grpcio and protobuf, and nothing of anyudf.

It is a model for whoever writes a worker in yet another language. Numbers such as R12 are rules of docs/protocol.md;
each part names those that it keeps. Read `Session` first: it is one Execute stream, and most of the protocol.

Three threads share a session, because three things must go on at once:

    listen    takes what the engine says, always: Cancel comes on the same stream as the data
    work      runs the function, which may take as long as it likes
    answers   sends what is to be said, and waits where the engine is slow to read

They meet in one lock, `changed`, and none of them holds it while it waits for the network or the function.
"""

import argparse
import os
import resource
import signal
import socket
import sys
import threading
import time
import traceback
import zlib
from collections import deque
from concurrent import futures
from contextlib import suppress
from urllib.parse import quote

import grpc
from org.apache.spark.udf.worker import common_pb2 as common
from org.apache.spark.udf.worker import udf_message_pb2 as wire
from org.apache.spark.udf.worker import udf_message_pb2_grpc as service

VERSIONS = (1,)  # R17
FORMATS = (common.ARROW,)  # R15
MESSAGE_LIMIT = 128 << 20  # P7: gRPC's own limit, 4 MiB, is wrong for this work.
TEXT_LIMIT = 64 << 10  # P7
NOTICE = 5.0  # R12: seconds that a function has to notice that it is over.

# E5, in bytes: the input that waits for the function, the output that waits for the engine, and the window of a stream.
# gRPC's libraries give credit back when a message is taken from them, so a full inbox makes `listen` wait, and a Cancel
# that stands behind it is heard when the function has taken as much as a window holds. (If it takes nothing, the engine
# breaks the stream off in the end, and that is heard at once.) So the inbox is large, and the window fixed and small;
# left alone, gRPC makes it larger and larger. Where your library lets you give credit by hand, do better: take every
# message at once, and give the credit when the function takes the bytes.
INBOX, OUTBOX, WINDOW = 16 << 20, 1 << 20, 1 << 20
OVERHEAD = 128  # What a waiting message takes beside its bytes, more or less.


# The functions (S1-S6): generators over the batches, as they come. Up to its first `yield` a function opens itself, and
# may fail to; then it yields its output, and what it returns is FinishResponse.data. When the execution is over, it
# meets `Cancelled` where it waits, so that a `finally` is its cancel callback (R12).


class SimulatedError(Exception):
    """S2."""


def echo(init, payload, batches):
    """S1, S2."""
    if payload == b"INIT_ERROR":
        raise Failure(worker_error("simulated init failure"))
    yield
    for batch in batches:
        if batch == b"ERROR":
            raise SimulatedError("simulated user-code error")
        yield batch


def generate(init, payload, batches):
    """S4."""
    count = int(payload)
    yield
    for number in range(count):
        yield b"%d" % number


def sink(init, payload, batches):
    """S5."""
    yield
    return b"%d" % sum(1 for _ in batches)


def slow(init, payload, batches):
    """S6."""
    seconds = int(payload) / 1000
    yield
    for batch in batches:
        time.sleep(seconds)
        yield batch


def hang(init, payload, batches):
    """S6: it never looks whether it is over."""
    yield
    for _ in batches:
        while True:
            time.sleep(3600)


FUNCTIONS = {"echo": echo, "echo/generate": generate, "echo/sink": sink, "echo/slow": slow, "echo/hang": hang}


# Errors (R14): exactly one kind each. The gRPC status never tells of them.


def cut(text):
    """P7: the texts of an error are cut, and say so."""
    data = text.encode(errors="replace")
    return data.decode() if len(data) <= TEXT_LIMIT else data[: TEXT_LIMIT - 16].decode(errors="ignore") + " … (cut)"


def protocol_error(message):
    return wire.ExecutionError(protocol=wire.ProtocolError(message=cut(message)))


def worker_error(message):
    return wire.ExecutionError(worker=wire.WorkerError(message=cut(message)))


def user_error(error):
    trace = "".join(traceback.format_exception(error))
    name = type(error).__name__
    return wire.ExecutionError(user=wire.UserError(message=cut(str(error)), traceback=cut(trace), error_class=name))


class Failure(Exception):
    """Raised with the ExecutionError that it is."""


class Cancelled(BaseException):
    """The execution is over. No Exception, so that no function catches it by mistake."""


# Answers.


def control(**answer):
    return wire.UdfResponse(control=wire.UdfControlResponse(**answer))


class Session:
    """One Execute stream."""

    def __init__(self, worker):
        self.worker = worker
        self.changed = threading.Condition()  # The lock of all that follows, and the news that some of it has changed.
        # What the engine has said.
        self.init = None
        self.payload = []
        self.whole = False  # The payload is (R3).
        self.inbox, self.inbox_size = deque(), 0
        self.finish = False
        self.half_closed = False
        # What is to be said, and how far that has come.
        self.outbox, self.outbox_size = deque(), 0
        self.answered = False  # InitResponse is said or in the outbox (R4).
        self.failed = False  # An error is (R7).
        self.done = None  # The FinishResponse, when the function has come to its end (R10, S3).
        # How it ends.
        self.over = None  # When that began: by a Cancel, a violation, a shutdown. No output after it (R12).
        self.give_up = None  # When it begins by itself, since no Cancel comes after an error (C2).
        self.blame = None  # The error in CancelResponse, if it has one.
        self.lost = False  # The stream is broken: nothing can be said any more (R14).
        self.working = False  # The function's thread runs.
        self.counts = dict.fromkeys(("bytes_in", "bytes_out", "batches_in", "batches_out"), 0)

    # What the engine says.

    def listen(self, requests):
        """Takes all that comes, to the end of the stream. A thread of its own."""
        try:
            for request in requests:
                with self.changed:
                    self.hear(request)
                    while self.inbox_size > INBOX:
                        self.changed.wait()
            with self.changed:
                self.hear_half_close()
        except grpc.RpcError:
            self.lose()

    def hear(self, request):
        """One message: what it may be, where the stream stands."""
        kind = request.WhichOneof("request")
        if kind == "control":
            kind = request.control.WhichOneof("control")
        if kind == "cancel":
            return self.end()  # R9: at any moment, before Init too; R11: and after Finish.
        if self.over is not None:
            return  # C4: nothing that comes now is read.
        if self.failed:
            # C2: what was under way is dropped, late chunks too (R4). Behind Finish the wait is a second.
            if kind == "finish" and not self.finish:
                self.finish, self.give_up = True, min(self.give_up, time.monotonic() + 1)
                self.changed.notify_all()
            return
        wrong = self.wrong(kind, request)
        if wrong:
            return self.fail(protocol_error(wrong), waits=False)  # C2: violations are not waited on.
        if kind == "init":
            self.hear_init(request.control.init)
        elif kind == "payload":
            self.payload.append(request.control.payload.data)
            if request.control.payload.last:
                self.open()
        elif kind == "data":
            self.inbox.append(request.data.data)
            self.inbox_size += len(request.data.data) + OVERHEAD
        elif kind == "finish":
            self.finish = True
        self.changed.notify_all()

    def wrong(self, kind, request):
        """What is wrong with a message where the stream stands, if anything is: the left column of the grammar."""
        if kind is None:
            return "a message without a branch that this worker knows (R16)"
        if self.finish:
            return f"{kind} after Finish (R10)"
        if kind == "init":
            return "a second Init (R1)" if self.init else None
        if self.init is None:
            return f"{kind} before Init (R1)"
        if kind == "payload":
            if self.whole:
                return "a PayloadChunk that is not announced, or behind the last one (R2)"
            if not request.control.payload.data and not request.control.payload.last:
                return "an empty PayloadChunk that is not the last (C5)"
        elif not self.whole:
            return f"{kind} before the payload is whole (R5)"
        # Data and Finish are taken as soon as the payload is whole, although InitResponse may be on its way yet (C1).
        return None

    def hear_init(self, init):
        """R15, R17, R18: what is wrong with its contents is told at once, and then waited on (C2)."""
        self.init = init
        version = init.protocol_version if init.HasField("protocol_version") else 1
        if version not in VERSIONS:
            wrong = f"protocol_version {version}; this worker supports {', '.join(map(str, VERSIONS))} (R17)"
        elif not init.HasField("udf") or not init.udf.format:
            wrong = "Init without udf, or without its format (R18)"
        elif init.data_format not in FORMATS:
            wrong = f"data_format {init.data_format}; this worker takes ARROW (R15)"
        elif init.udf.format not in FUNCTIONS:
            wrong = f"the payload format `{cut(init.udf.format)}`; this worker has {', '.join(FUNCTIONS)} (C2)"
        else:
            self.payload.append(init.udf.payload)
            init.udf.ClearField("payload")
            if not init.is_chunking_payload:
                self.open()
            return
        self.fail(protocol_error(wrong))

    def open(self):
        """R3: the payload is whole. If it is what was claimed, the function's thread begins."""
        self.whole, payload, self.payload = True, b"".join(self.payload), []
        udf = self.init.udf
        if udf.HasField("payload_size") and udf.payload_size != len(payload):
            return self.fail(protocol_error(f"a payload of {len(payload)} bytes, not {udf.payload_size} (R3)"))
        if udf.HasField("payload_crc32") and udf.payload_crc32 != zlib.crc32(payload):
            return self.fail(protocol_error("the checksum of the payload is wrong (R3)"))
        self.working = True
        threading.Thread(target=self.work, args=(payload,), daemon=True).start()

    def hear_half_close(self):
        """C6: fine after Finish and Cancel. Earlier it is a violation, which CancelResponse tells (R19)."""
        self.half_closed = True
        if self.failed:
            self.end()  # C2: no Cancel can come any more.
        elif not self.finish:
            self.end(protocol_error("the stream was half-closed before Finish or Cancel (C6)"))

    # How it ends.

    def fail(self, error, waits=True):
        """R19: the error, where the stream stands: in InitResponse if that was not said, otherwise in ErrorResponse."""
        if self.failed or self.over is not None:
            return  # R7: one at most.
        self.failed = True
        if self.answered:
            self.say(control(error=wire.ErrorResponse(error=error)))
        else:
            self.answered = True
            self.say(control(init=wire.InitResponse(error=error)))
        self.worker.count(sessions_failed=1)
        if waits and not self.half_closed:
            self.give_up = time.monotonic() + (1 if self.finish else 10)  # C2
        else:
            self.over = time.monotonic()
        self.forget_input()

    def end(self, blame=None):
        """R12: no more output, and CancelResponse when the function has noticed. An error that was said is sent."""
        self.outbox = deque(answer for answer in self.outbox if not answer.HasField("data"))
        self.outbox_size = 0
        if self.over is None:
            self.over, self.blame = time.monotonic(), blame
        self.forget_input()

    def lose(self):
        """R14: a broken stream is a Cancel, and nothing more is sent."""
        with self.changed:
            if not (self.lost or self.failed) and self.over is None:
                self.worker.count(sessions_failed=1)  # M2
            self.lost = True
            self.end()
            self.changed.notify_all()
        self.worker.forget(self)

    def shut_down(self):
        """C7: what a shutdown with cancel_sessions means, where the stream stands."""
        with self.changed:
            if self.failed:
                self.end()
            else:
                self.fail(worker_error("the worker is shutting down"), waits=False)

    def forget_input(self):
        self.inbox.clear()
        self.inbox_size, self.payload = 0, []
        self.changed.notify_all()

    # The function.

    def work(self, payload):
        """Opens the function and runs it. A thread of its own."""
        try:
            function = FUNCTIONS[self.init.udf.format](self.init, payload, self.batches())
            next(function)
            with self.changed:
                self.check()
                self.answered = True
                self.say(control(init=wire.InitResponse()))  # R4: as soon as the function is open.
            result = self.run(function)
            for _ in self.batches():  # What the function did not want: FinishResponse waits for Finish (R10).
                pass
            with self.changed:
                self.check()
                self.done = wire.FinishResponse(metrics=self.metrics() | {"status": "ok"}, data=result)
                self.changed.notify_all()
        except Cancelled:
            pass
        except Failure as failure:
            with self.changed:
                self.fail(failure.args[0])
        except BaseException as error:
            with self.changed:
                if isinstance(error.__context__, Cancelled):
                    self.blame = user_error(error)  # R12: the cancel callback failed.
                self.fail(user_error(error))
        finally:
            with self.changed:
                self.working = False
                self.changed.notify_all()
            self.worker.returned(self)

    def run(self, function):
        """What the function returns, when all is sent that it yields."""
        try:
            while True:
                self.emit(next(function))
        except StopIteration as end:
            return end.value
        except Cancelled as cancelled:
            with suppress(StopIteration):
                function.throw(cancelled)  # It was `emit` that was told.
            raise

    def check(self):
        """Whether to go on. Where the function waits, it hears that it is over."""
        if self.failed or self.over is not None:
            raise Cancelled

    def batches(self):
        """The input, as it comes, up to Finish."""
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.inbox or self.finish or self.failed or self.over is not None)
                self.check()
                if not self.inbox:
                    return
                batch = self.inbox.popleft()
                self.inbox_size -= len(batch) + OVERHEAD
                self.count(bytes_in=len(batch), batches_in=1)
                self.changed.notify_all()
            yield batch

    def emit(self, batch):
        """R6: waits while the engine does not read. `listen` hears the engine all the while."""
        with self.changed:
            self.changed.wait_for(lambda: self.outbox_size < OUTBOX or self.failed or self.over is not None)
            self.check()
            self.count(bytes_out=len(batch), batches_out=1)
            self.say(wire.UdfResponse(data=wire.DataResponse(data=batch)))
            self.outbox_size += len(batch) + OVERHEAD

    def count(self, **more):
        for name, number in more.items():
            self.counts[name] += number
        self.worker.count(**{name: number for name, number in more.items() if name.startswith("bytes")})

    def metrics(self):
        """C8: the shape of 4.3.0, a map of texts. Rows are absent, which means unknown: no batch is decoded here."""
        return {name: str(number) for name, number in self.counts.items()}

    # What the engine hears.

    def say(self, answer):
        self.outbox.append(answer)
        self.changed.notify_all()

    def answers(self):
        """All that is said on this stream, up to its terminator (R13). The thread of the call, in which gRPC sends."""
        while True:
            with self.changed:
                answer, last = self.next_answer()
            if answer is not None:
                yield answer  # Comes back when gRPC has sent it.
                del answer
            if last:
                return self.worker.forget(self)

    def next_answer(self):
        """What is said next, and whether it is the last."""
        while not self.lost:
            now = time.monotonic()
            until = None
            if self.outbox:
                answer = self.outbox.popleft()
                if answer.HasField("data"):
                    self.outbox_size -= len(answer.data.data) + OVERHEAD
                self.changed.notify_all()
                return answer, False
            if self.over is not None:
                until = self.over + NOTICE
                if self.working and until <= now:
                    self.blame = worker_error(f"the function has not returned within {NOTICE:.0f} s")  # R12
                if not self.working or until <= now:
                    return control(cancel=wire.CancelResponse(metrics=self.metrics(), error=self.blame)), True
            elif self.failed:
                until = self.give_up
                if until <= now:
                    self.end()
                    continue
            elif self.done is not None:
                self.over = now  # C4: whatever comes behind it is dropped.
                return control(finish=self.done), True
            self.changed.wait(None if until is None else until - now)
        return None, True


class Worker(service.UdfWorkerServicer):
    """The service, and what all sessions share."""

    def __init__(self):
        self.lock = threading.Condition()
        self.began = time.monotonic()
        self.sessions = set()
        self.left_behind = set()  # Sessions that are over, and whose function still runs.
        self.draining = False
        self.settled = threading.Event()  # Draining, and the last session has ended (M3).
        names = ("sessions_total", "sessions_failed", "rows_in", "rows_out", "bytes_in", "bytes_out")
        self.counts = dict.fromkeys(names, 0)

    def Execute(self, requests, context):
        session = Session(self)
        with self.lock:
            refused = self.draining
            if not refused:
                self.sessions.add(session)
                self.counts["sessions_total"] += 1
        if refused:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the worker is shutting down")  # M3
        # Called when the call is over, however. Mostly the session is, too; a broken stream is heard here (R14).
        if not context.add_callback(session.lose):
            session.lose()
        threading.Thread(target=session.listen, args=(requests,), daemon=True).start()
        yield from session.answers()

    def Manage(self, request, context):
        """M1: the answer has the branch of the request."""
        kind = request.WhichOneof("manage")
        if kind == "heartbeat":
            return wire.WorkerResponse(heartbeat=wire.HeartbeatResponse(metrics=self.metrics()))
        if kind == "shutdown":
            settled = self.cancel() if request.shutdown.cancel_sessions else self.drain()
            return wire.WorkerResponse(shutdown=wire.ShutdownResponse(sessions_settled=settled))
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a request without a branch (M1)")

    def metrics(self):
        """M2. No one holds the lock for longer than it takes to count."""
        with self.lock:
            late = time.monotonic() - NOTICE
            counts = self.counts | {
                "sessions_active": len(self.sessions),
                "calls_overdue": sum(session.over <= late for session in self.left_behind),
                "uptime_ms": int((time.monotonic() - self.began) * 1000),
                "memory_rss_bytes": resident(),
            }
        return {name: str(number) for name, number in counts.items()}

    def count(self, **more):
        with self.lock:
            for name, number in more.items():
                self.counts[name] += number

    def forget(self, session):
        """The session is over: it is counted off, and the last one lets a worker that drains go."""
        with self.lock:
            if session in self.sessions:
                self.sessions.remove(session)
                if session.working:
                    self.left_behind.add(session)
            if self.draining and not self.sessions:
                self.settled.set()
            self.lock.notify_all()

    def returned(self, session):
        with self.lock:
            self.left_behind.discard(session)

    def drain(self):
        """M3: no new sessions; those that are open go on. Whether there are none."""
        with self.lock:
            self.draining = True
            if not self.sessions:
                self.settled.set()
            return not self.sessions

    def cancel(self):
        """M4: the sessions are ended, and this returns when each has its terminator, or nobody reads it."""
        self.drain()
        with self.lock:
            sessions = list(self.sessions)
        for session in sessions:
            session.shut_down()
        with self.lock:
            # Within NOTICE each terminator is said; what the engine does not read lies before it, and keeps nobody.
            self.lock.wait_for(lambda: not self.sessions, timeout=NOTICE + 2)
        self.settled.set()
        return True


def resident():
    """The memory of this process. Where there is no procfs, the most that it ever was."""
    with suppress(OSError), open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


# The process.


def bind(server, connection):
    """P2, P6."""
    if not connection.isdigit():
        # gRPC replaces whatever socket is there, also one that is in use.
        with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(connection)
            sys.exit(f"somebody listens at {connection} already")
        server.add_insecure_port("unix:" + quote(connection))  # Its names of sockets are URIs.
        return os.chmod(connection, 0o600)
    server.add_insecure_port(f"127.0.0.1:{connection}")
    try:
        server.add_insecure_port(f"[::1]:{connection}")
    except RuntimeError as error:
        with suppress(OSError), socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
            raise  # This machine has IPv6, so it is the port that is taken.
        print(f"without IPv6: {error}", file=sys.stderr)


def heed_sigterm(worker, grace):
    """P3. A thread that waits for the signal, and so no handler that could interrupt whoever holds a lock. (A program
    that a function starts inherits that the signal is blocked; a worker whose functions do that unblocks it there.)"""
    signal.sigwait({signal.SIGTERM})
    first = time.monotonic()
    worker.drain()
    for seconds, then in ((grace, worker.cancel), (grace + NOTICE + 1, worker.settled.set)):
        timer = threading.Timer(seconds, then)
        timer.daemon = True
        timer.start()
    while True:
        signal.sigwait({signal.SIGTERM})
        if time.monotonic() - first > 1:  # Not one that a launcher has forwarded.
            os._exit(128 + signal.SIGTERM)


def main():
    # P1. Flags that nobody here knows are ignored, and not taken for abbreviations of those that we do.
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--id", default="")
    parser.add_argument("--connection", required=True)
    parser.add_argument("--grace", type=float, default=4.0)
    flags, _ = parser.parse_known_args()

    # Before any thread begins, since threads inherit it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    worker = Worker()
    # A call has a thread of the pool, also one of Manage: so there are far more than sessions, and a heartbeat never
    # waits for one (M2). They are made when they are needed.
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=1024),
        options=[
            ("grpc.max_receive_message_length", MESSAGE_LIMIT),
            ("grpc.max_send_message_length", -1),
            ("grpc.http2.lookahead_bytes", WINDOW),
            ("grpc.http2.bdp_probe", 0),  # It is what would change the window.
            ("grpc.so_reuseport", 0),  # Otherwise two workers could have one port.
        ],
    )
    service.add_UdfWorkerServicer_to_server(worker, server)
    bind(server, flags.connection)
    threading.Thread(target=heed_sigterm, args=(worker, flags.grace), daemon=True).start()
    server.start()

    worker.settled.wait()
    server.stop(grace=NOTICE).wait()  # What was said last, also to whoever asked for the end, may be on its way yet.
    if not flags.connection.isdigit():
        with suppress(FileNotFoundError):
            os.unlink(flags.connection)
    sys.stderr.flush()
    os._exit(0)  # A function that never returns does not keep the process (M4).


if __name__ == "__main__":
    main()
