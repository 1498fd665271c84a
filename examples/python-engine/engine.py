"""An engine in Python: the standard library, grpcio and protobuf, and nothing of anyudf.

It is a model for whoever writes an engine in yet another language. Numbers such as E9 are rules of docs/protocol.md;
each part names those that it keeps. Read `Session` first: it is one Execute stream, and most of the protocol.

    with Worker("/tmp/worker.sock") as worker, Session(worker) as session:
        session.init(Function("echo", b""))
        for output in session.process([b"one", b"two"]):
            ...

A session has threads of its own beside those of its callers, because these things must go on at once:

    requests     says what is to be said, and waits where the worker is slow to read (a thread of gRPC's)
    listen       takes what the worker says, also while nothing can be sent (R6)
    feed         pulls the caller's input, which may take as long as it likes
    keep_time    ends what takes too long, whoever waits for it, and also when nobody does

They meet in one lock, `changed`, and none of them holds it while it waits for the network or the caller.
"""

import itertools
import math
import os
import threading
import time
import zlib
from collections import deque
from dataclasses import dataclass, field
from urllib.parse import quote

import grpc
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from org.apache.spark.udf.worker import common_pb2 as common
from org.apache.spark.udf.worker import udf_message_pb2 as wire

SERVICE = "/org.apache.spark.udf.worker.UdfWorker/"
VERSION = 1  # R17
CHUNK = 1 << 20  # E4
LARGEST = (4 << 20) - 1024  # E4, P7: messages stay below gRPC's usual limit, with room for what it adds.
LONGEST_REASON = 4 << 10  # E9
LINGER = 1.0  # Seconds that a worker has to end the stream behind its terminator (R13).

# E5, in bytes: the input that waits for the worker, the output that waits for the caller, and the window of a stream.
# gRPC's library gives credit back when a message is taken from it, so `listen` takes none while the inbox is full. An
# engine may do that and a worker may not: behind the output there is no Cancel that must be heard. The window is fixed,
# since gRPC makes it larger and larger when it is left alone, and small, since what is in it must be taken message by
# message before the answer to a Cancel is heard: of tiny ones 1 MiB holds 70,000. For a large message gRPC makes room,
# and the window of the connection grows with those of its streams.
INBOX, OUTBOX, WINDOW = 1 << 20, 1 << 20, 128 << 10
OVERHEAD = 128  # What a waiting message takes beside its bytes, more or less.

# C8: the counters by their numbers, as later releases send them.
COUNTERS = dict(
    enumerate(
        "bytes_in bytes_out rows_in rows_out batches_in batches_out init_wall_nanos processing_wall_nanos "
        "receive_wall_nanos send_wall_nanos work_wall_nanos work_cpu_nanos".split(),
        start=1,
    )
)


@dataclass(frozen=True)
class Times:
    """In seconds."""

    init: float = 30.0  # E3
    cancel: float = 5.0  # E6, E9
    interrupt: float = 2.0  # E13
    idle: float = math.inf  # E7
    heartbeat: float = 5.0  # D10


@dataclass(frozen=True)
class Function:
    """What is in Init, all of which reaches the function unchanged (R18)."""

    format: str
    payload: bytes = field(repr=False)  # D13: a payload is not for logs.
    name: str | None = None
    eval_type: str | None = None
    input_schema: bytes | None = None
    output_schema: bytes | None = None
    timezone: str | None = None
    parameters: bytes | None = field(default=None, repr=False)
    session_conf: dict = field(default_factory=dict)
    task_context: dict = field(default_factory=dict)


# How a session ends.


class Error(Exception):
    """What the caller is told. Its kind says who is to blame: `user`, `worker` and `protocol` are kinds of an
    ExecutionError (R14); then there are `cancelled`, `interrupted`, `misuse` and `transport`."""

    def __init__(self, kind, message, error_class=None, traceback=None):
        super().__init__(message)
        self.kind, self.message, self.error_class, self.traceback = kind, message, error_class, traceback

    @staticmethod
    def of(error):
        """An ExecutionError. One without a kind is one of the worker (R14)."""
        kind = error.WhichOneof("kind")
        if kind is None:
            return Error("worker", "error without kind")
        body = getattr(error, kind)
        error_class, traceback = (getattr(body, name, "") or None for name in ("error_class", "traceback"))
        return Error(kind, body.message, error_class, traceback)


@dataclass(frozen=True)
class Termination:
    name: str  # finished, cancelled, failed, transport-failed or interrupted.
    error: Error | None = None  # What the caller is told. A finished session may have one: its finish callback's (R10).
    metrics: dict = field(default_factory=dict)  # C8: texts, by name.
    data: bytes | None = None  # Of FinishResponse.

    @property
    def reusable(self):
        """E14: whether the worker may be used again."""
        return self.name in ("finished", "cancelled", "failed")


def transport_failed(why):
    return Termination("transport-failed", Error("transport", why))


def cancelled(error=None, counts=None):
    return Termination("cancelled", error or Error("cancelled", "the execution was cancelled"), counts or {})


def fields(message):
    """Numbers and values of a message's fields, as they are on the wire: to a message that has none, they are all
    unknown. Empty for what is no message."""
    try:
        return [(each.field_number, each.data) for each in UnknownFieldSet(wire.Finish.FromString(message))]
    except (DecodeError, TypeError):
        return []


def metrics(response):
    """C8: both shapes of the metrics in the bytes of a response. protobuf's library would read them as a map of texts,
    and drop what is none without a word."""
    found = [response]
    for numbers in ((1,), (2, 3), (1,)):  # UdfResponse.control, its finish or cancel, the metrics of that.
        found = [data for message in found for number, data in fields(message) if number in numbers]
    values = {}
    for message in found:
        entry = dict(fields(message))
        if any(isinstance(entry.get(number), bytes) for number in (1, 2)):  # 4.3.0: an entry of the map.
            name, value = (entry.get(number, b"").decode(errors="replace") for number in (1, 2))
            values[name] = value
        else:
            values |= {COUNTERS[number]: str(value) for number, value in entry.items() if number in COUNTERS}
    return values


class Session:
    """One Execute stream (E1-E14)."""

    def __init__(self, worker):
        self.worker, self.times = worker, worker.times
        self.changed = threading.Condition()  # The lock of all that follows, and the news that some of it has changed.
        # What the caller has asked for.
        self.opening = None  # Init and the chunks, those that have not been said; None before init (E1).
        self.processing = False
        self.outbox, self.outbox_size = deque(), 0
        self.cancelling = self.cancelled_at = None  # The Cancel, once it is to be said (E9), and since when.
        self.interrupted = False
        self.dropped = False  # Output that came before our Cancel's answer, and the caller never got.
        self.input_error = None  # The caller's own (E8).
        # What has been said to the worker.
        self.finish_said = self.cancel_said = False
        self.sending = False  # There is no room for a message that is under way.
        # What the worker has said.
        self.init_response = None  # The good one.
        self.inbox, self.inbox_size = deque(), 0
        self.heard_at = 0.0  # When it last said anything.
        self.error = None  # The first that it reported before its terminator (E10).
        # How it ends, in this order for the most part.
        self.termination = None  # What the caller is told of it: the first one.
        self.settled = False  # Nothing more is to be said: requests() ends.
        self.gone = False  # The stream is.
        self.call = None
        self.alarm = (math.inf, None)  # When the patience ends, and what happens then.

    # What the caller asks for. All of it may come from any thread.

    def init(self, function):
        """Opens the function, and returns InitResponse.data, if there is any."""
        with self.changed:
            if self.opening is not None:
                raise Error("misuse", "the session is initialised already (E2)")
            if self.termination is not None:
                raise self.termination.error  # E1: it was cancelled before, and no stream is opened.
            opening = self.first_requests(function)
            self.call = self.worker.execute(self.requests(), metadata=self.worker.metadata)
            self.opening = opening
            self.worker.enter(self)
            self.set_alarm(self.times.init, self.init_is_late)
            self.start(self.listen)
            self.start(self.keep_time)
            self.changed.wait_for(lambda: self.termination or self.error or self.is_open())
            if self.error:
                raise self.error
            if self.termination:
                raise self.termination.error
            return self.init_response.data if self.init_response.HasField("data") else None

    def process(self, source):
        """An iterator over the output, of bytes. The input is pulled from `source` at the same time: nothing pairs the
        one with the other (R6). The iterator raises how the execution ended, if it did not finish."""
        with self.changed:
            if self.init_response is None and self.cancelling is None and self.termination is None:
                raise Error("misuse", "process before init (E2)")
            if self.processing:
                raise Error("misuse", "the session processes already (E2)")
            self.processing = True
        self.start(self.feed, source)
        return iter(self.take, None)

    def cancel(self, reason=None):
        """E9. Does not wait: whoever reads is told how it ended, and so is who closes."""
        with self.changed:
            self.stop(reason)

    def interrupt(self):
        """E13: a Cancel with another patience, which ends in another way."""
        with self.changed:
            self.stop("interrupted")
            if self.termination is None and not self.interrupted:
                self.interrupted = True
                ended = Termination("interrupted", Error("interrupted", "interrupted, and the worker did not answer"))
                self.set_alarm(self.times.interrupt, lambda: self.break_off(ended))

    def close(self):
        """E12: ends the execution, unless it has ended, and returns how it ended."""
        with self.changed:
            self.stop("closed")
            # For the stream, too: whoever closes may exit, and the last words would be lost. That time is bounded.
            self.changed.wait_for(lambda: self.termination and (self.gone or self.call is None))
            return self.termination

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is KeyboardInterrupt:
            self.interrupt()
        self.close()

    # What is said to the worker.

    def first_requests(self, function):
        """R1-R3, E4: Init, and the payload in chunks if it is large. Each is made when it is to be sent."""
        payload, chunked = function.payload, len(function.payload) > CHUNK
        udf = wire.UdfPayload(
            payload=b"" if chunked else payload,
            format=function.format,
            payload_size=len(payload),
            payload_crc32=zlib.crc32(payload),
            name=function.name,
            eval_type=function.eval_type,
        )
        names = ("input_schema", "output_schema", "timezone", "parameters", "session_conf", "task_context")
        init = wire.Init(
            protocol_version=VERSION,
            data_format=common.ARROW,
            udf=udf,
            is_chunking_payload=chunked or None,
            **{name: getattr(function, name) for name in names},
        )
        first = control(init=init)
        if first.ByteSize() > LARGEST:
            raise Error("misuse", f"an Init of {first.ByteSize()} bytes; {LARGEST} is the most (E4)")

        def chunks():
            for at in range(0, len(payload), CHUNK) if chunked else ():
                last = at + CHUNK >= len(payload)
                yield control(payload=wire.PayloadChunk(data=payload[at : at + CHUNK], last=last or None))

        return itertools.chain([first], chunks())

    def requests(self):
        """All that is said on this stream. gRPC asks for the next when the window had room for the one before it, and
        half-closes when there is none: so this ends when the terminator is there, and not before (R13)."""
        while True:
            with self.changed:
                self.sending = False
                request = self.next_request()
                self.sending = True
            if request is None:
                return
            yield request
            del request

    def next_request(self):
        """What is said next: the left column of the grammar. None when nothing is to be said any more."""
        while not self.settled:
            if self.cancel_said:
                pass  # R9: nothing follows it.
            elif self.cancelling:
                self.cancel_said = True  # E9: it goes ahead of all that waits.
                return self.cancelling
            elif request := next(self.opening, None):
                return request
            elif self.outbox and self.init_response:  # R5
                request = self.outbox.popleft()
                if request.HasField("data"):
                    self.outbox_size -= len(request.data.data) + OVERHEAD
                else:
                    self.finish_said = True
                self.moved()
                self.changed.notify_all()
                return request
            self.changed.wait()
        return None

    def feed(self, source):
        """The input, up to its end. A thread of its own."""
        try:
            for data in source:
                request = wire.UdfRequest(data=wire.DataRequest(data=data))
                if request.ByteSize() > LARGEST:
                    raise Error("misuse", f"a message of {request.ByteSize()} bytes; {LARGEST} is the most (E4)")
                if not self.send(request, len(data) + OVERHEAD):
                    return
            self.send(control(finish=wire.Finish()), 0)
        except BaseException as error:  # E8: whatever it is, it is the caller's.
            with self.changed:
                if self.error is None and self.termination is None and self.cancelling is None:
                    self.input_error = error
                self.stop("the input failed")

    def send(self, request, size):
        """Waits while the worker is slow (E5). False when the execution is over: who reads is told how."""
        with self.changed:
            self.changed.wait_for(lambda: self.outbox_size < OUTBOX or self.is_over())
            if self.is_over():
                return False
            self.outbox.append(request)
            self.outbox_size += size
            self.moved()
            self.changed.notify_all()
            return True

    def stop(self, reason):
        """E9: Cancel, at most once. A no-op when the execution has ended."""
        if self.termination is not None or self.cancelling is not None:
            return
        if self.opening is None:
            return self.end(cancelled())  # E1: there is no stream.
        self.cancelling = control(cancel=wire.Cancel(reason=reason and cut(reason)))
        self.opening = iter(())
        self.outbox.clear()
        if self.error is None and self.input_error is None:
            self.dropped = bool(self.inbox)
            self.inbox.clear()  # What came before an error is still read; a caller who cancels wants no more.
            self.inbox_size = 0
        self.cancelled_at = time.monotonic()
        self.set_alarm(self.times.cancel, self.cancel_is_late)

    # What the worker says.

    def listen(self):
        """Takes all that comes, to the end of the stream. A thread of its own."""
        status = None
        try:
            for response in self.call:
                with self.changed:
                    self.hear(response)
                    self.changed.wait_for(lambda: self.inbox_size < INBOX or self.is_over())
        except grpc.RpcError as error:
            status = error
        with self.changed:
            self.gone = self.settled = True
            if status is None:
                self.end(transport_failed("the worker ended the stream without a terminator (E11)"))
            else:
                self.end(transport_failed(f"{status.code().name}: {status.details()}"))  # R14
            self.changed.notify_all()
        self.worker.leave(self)

    def hear(self, data):
        """One message. What is dropped is read all the same (E9)."""
        if self.settled:
            return  # R13: the first terminator wins.
        self.heard_at = time.monotonic()
        try:
            response = wire.UdfResponse.FromString(data)
        except DecodeError:
            return self.break_off(transport_failed("the worker sent bytes that are no message"))
        kind = response.WhichOneof("response")
        if kind == "control":
            kind = response.control.WhichOneof("control")
        wrong = self.wrong(kind)
        if wrong:
            return self.break_off(transport_failed(f"the worker broke the protocol: {wrong}"))
        if kind == "data":
            self.hear_data(response.data.data)
        elif kind == "init" and not response.control.init.HasField("error"):
            self.init_response = response.control.init
        elif kind in ("init", "error"):
            # R8: Cancel follows, also after Finish. An ErrorResponse before InitResponse is a failure of init (E11).
            self.error = Error.of(getattr(response.control, kind).error)
            self.stop("the execution failed")
        else:
            self.hear_terminator(kind, getattr(response.control, kind), data)
        self.moved()
        self.changed.notify_all()

    def wrong(self, kind):
        """What is wrong with a message where the stream stands, if anything is: the right column of the grammar, and
        what may have crossed something that we have said (E11)."""
        if kind is None:
            return "a message without a branch that this engine knows (R16)"
        if kind == "init" and (self.init_response or self.error):
            return "a second InitResponse (R4)"
        if kind == "data" and not (self.init_response or self.error):
            return "data before InitResponse (R6)"
        if kind == "error" and self.error:
            return "a second error (R7)"
        # C2: in place of a CancelResponse an error may be followed by it.
        if kind == "finish" and not (self.finish_said or self.error):
            return "FinishResponse before Finish (R10)"
        return None

    def hear_data(self, data):
        if self.cancelling is not None:
            self.dropped = True  # It crossed our Cancel (E9), or follows an error (E11).
            return
        self.inbox.append(data)
        self.inbox_size += len(data) + OVERHEAD

    def hear_terminator(self, kind, terminator, data):
        """R13. Of several errors that of the data phase goes first, then that in the terminator (E10)."""
        error = Error.of(terminator.error) if terminator.HasField("error") else None
        if self.error:
            self.end(Termination("failed", self.error, metrics(data)))
        elif kind == "finish" and self.dropped:
            self.end(cancelled(error, metrics(data)))  # R11 takes either terminator; the output is not whole.
        elif kind == "finish":
            result = terminator.data if terminator.HasField("data") else None
            self.end(Termination("finished", error, metrics(data), result))
        elif error and self.cancelling is None:
            self.end(Termination("failed", error, metrics(data)))  # E11: nobody asked for it.
        else:
            self.end(cancelled(error, metrics(data)))
        self.settled = True
        self.set_alarm(LINGER, self.reset)

    def take(self):
        """The next output, as soon as there is one. None when the execution has ended well."""
        with self.changed:
            while not self.inbox:
                # E8: the caller's own error comes back to it. An error that the worker told need not wait for its
                # terminator, since nothing goes before it (E10); a bare cancellation does.
                if self.input_error or self.error:
                    raise self.input_error or self.error
                if self.termination:
                    if self.termination.error:
                        raise self.termination.error
                    return None
                self.changed.wait()
            data = self.inbox.popleft()
            self.inbox_size -= len(data) + OVERHEAD
            self.moved()
            self.changed.notify_all()
            return data

    # How it ends.

    def is_open(self):
        return self.init_response is not None and self.cancelling is None

    def is_over(self):
        return self.termination is not None or self.cancelling is not None

    def end(self, termination):
        """The first termination wins."""
        if self.termination is None:
            self.termination = termination
            self.changed.notify_all()

    def reset(self):
        """Breaks the stream off: the other way in which a stream ends for us, and never the first (E9, E12)."""
        self.settled = True
        self.set_alarm(math.inf, None)
        self.call.cancel()
        self.changed.notify_all()

    def break_off(self, termination):
        self.end(termination)
        self.reset()

    def lose(self, why):
        """The worker is not there any more (E6, D10)."""
        with self.changed:
            self.break_off(transport_failed(why))

    def init_is_late(self):
        self.give_up(f"no InitResponse within {self.times.init:g} s (E3)")

    def cancel_is_late(self):
        """E6 limits silence, E9 the time until the answer. What crossed our Cancel is no silence, and the time that it
        takes may be ours; but a worker that never stops is given up, too."""
        now, most = time.monotonic(), self.times.cancel
        late = min(self.heard_at + most, self.cancelled_at + 2 * most)
        if late > now:
            return self.set_alarm(late - now, self.cancel_is_late)
        self.break_off(transport_failed(f"no answer to Cancel within {most:g} s (E6)"))

    def give_up(self, why):
        """E3: Cancel as best we can, but how it ended is certain."""
        self.stop(why)
        self.end(transport_failed(why))

    # Time.

    def keep_time(self):
        """A thread of its own, since each of the others may be the one that waits for too long."""
        with self.changed:
            while not self.gone:
                at, ring = self.alarm
                left = at - time.monotonic()
                if left <= 0:
                    ring()
                else:
                    self.changed.wait(min(left, threading.TIMEOUT_MAX))

    def set_alarm(self, seconds, ring):
        self.alarm = (time.monotonic() + seconds, ring)
        self.changed.notify_all()

    def moved(self):
        """E7: something has, and the idle limit begins anew."""
        if self.is_open() and self.termination is None:
            self.set_alarm(self.times.idle, self.is_idle)

    def is_idle(self):
        """E7: only while it is the worker's turn for certain, and no answers of it wait for the caller."""
        if self.inbox or not (self.finish_said or self.outbox or self.sending):
            return self.moved()
        self.give_up(f"the worker was silent for {self.times.idle:g} s while it was its turn (E7)")

    @staticmethod
    def start(what, *arguments):
        threading.Thread(target=what, args=arguments, daemon=True).start()


def control(**request):
    return wire.UdfRequest(control=wire.UdfControlRequest(**request))


def cut(reason):
    """E9."""
    return reason.encode(errors="replace")[:LONGEST_REASON].decode(errors="ignore")


class Worker:
    """A worker that is there: its connection, its heartbeat, and its sessions. Whoever starts workers keeps group D."""

    def __init__(self, connection, times=Times()):
        self.times = times
        # Its names of sockets are URIs, and a number is a port of the loopback address (P2).
        target = f"127.0.0.1:{connection}" if connection.isdigit() else "unix:" + quote(connection)
        self.channel = grpc.insecure_channel(
            target,
            options=[
                ("grpc.default_authority", "localhost"),  # P8: some servers take no other.
                ("grpc.max_receive_message_length", -1),  # P7: gRPC's own limit, 4 MiB, is wrong for this work.
                ("grpc.max_send_message_length", -1),
                ("grpc.http2.lookahead_bytes", WINDOW),
                ("grpc.http2.bdp_probe", 0),  # It is what would change the window.
                ("grpc.enable_retries", 0),  # It keeps what was sent, and a queue of its own before Cancel (E9).
                ("grpc.enable_http_proxy", 0),
                ("grpc.use_local_subchannel_pool", 1),  # One connection for each worker.
            ],
        )
        # Answers stay bytes, for the sake of metrics, and because those that are no message are for us to tell (E11).
        self.execute = self.channel.stream_stream(SERVICE + "Execute", wire.UdfRequest.SerializeToString)
        self.manage = self.channel.unary_unary(
            SERVICE + "Manage", wire.WorkerRequest.SerializeToString, wire.WorkerResponse.FromString
        )
        token = os.environ.get("ANYUDF_TOKEN")
        self.metadata = [("anyudf-token", token)] if token else []  # P9
        self.lock = threading.Lock()
        self.sessions = set()
        self.usable = True  # For further sessions (E14).
        self.closed = threading.Event()
        threading.Thread(target=self.heartbeats, daemon=True).start()

    def enter(self, session):
        with self.lock:
            self.sessions.add(session)

    def leave(self, session):
        with self.lock:
            self.sessions.discard(session)
            self.usable = self.usable and session.termination.reusable

    def heartbeats(self):
        """D10: three that are missed in a row are the end. What a status says does not matter, only that one came (D6);
        but these two are what gRPC says when none did."""
        request = wire.WorkerRequest(heartbeat=wire.Heartbeat())
        missed, pause = 0, 0.0
        while not self.closed.wait(pause):
            began = time.monotonic()
            try:
                self.manage(request, timeout=self.times.heartbeat, metadata=self.metadata)
                missed = 0
            except grpc.RpcError as error:
                silent = error.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)
                missed = missed + 1 if silent else 0
            if missed == 3:
                with self.lock:
                    sessions = list(self.sessions)
                for session in sessions:
                    session.lose("the worker does not answer its heartbeat (D10)")
            pause = max(0.0, began + self.times.heartbeat - time.monotonic())

    def close(self):
        with self.lock:
            sessions = list(self.sessions)
        for session in sessions:
            session.close()
        self.closed.set()
        self.channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
