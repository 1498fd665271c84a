"""Manage, and the services beside it: a worker as a whole."""

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from dialogue import Stream, cancel, data, finish, init
from org.apache.spark.udf.worker import common_pb2, udf_message_pb2
from org.apache.spark.udf.worker.udf_message_pb2 import (
    CancelResponse,
    DataResponse,
    FinishResponse,
    InitResponse,
    WorkerRequest,
)
from org.apache.spark.udf.worker.udf_message_pb2_grpc import UdfWorkerStub
from process import HEARTBEAT, PATIENCE, heartbeat, wait_for_active

SERVICE = "org.apache.spark.udf.worker.UdfWorker"


def test_m1_m2_heartbeat(stub):
    """M1, M2: the branch of the request, and all the names."""
    metrics = heartbeat(stub)
    numbers = {
        "sessions_active",
        "sessions_total",
        "sessions_failed",
        "rows_in",
        "rows_out",
        "bytes_in",
        "bytes_out",
        "memory_rss_bytes",
        "uptime_ms",
        "calls_overdue",
    }
    assert numbers <= metrics.keys()
    assert all(int(metrics[name]) >= 0 for name in numbers)
    assert int(metrics["memory_rss_bytes"]) > 1 << 20


def test_m2_heartbeat_counts(start):
    """M2: what moved since the start, executions that failed among it."""
    with start().channel() as channel:
        stub = UdfWorkerStub(channel)
        with Stream(channel) as good, Stream(channel) as bad:
            good.open(init())
            bad.say(init(protocol_version=2))
            bad.hear(InitResponse)
            assert heartbeat(stub)["sessions_active"] == "2"
            bad.say(cancel())
            bad.hear(CancelResponse)
            bad.must_end()
            good.say(data(b"four"), finish())
            good.hear_until(FinishResponse)
            good.must_end()
        wait_for_active(stub, 0)
        metrics = heartbeat(stub)
        counted = [metrics[name] for name in ("sessions_total", "sessions_failed", "bytes_in", "bytes_out")]
        assert counted == ["2", "1", "4", "4"]


def test_m2_r14_an_execution_fails_once(start):
    """M2, R14: one that has reported an error, and whose stream breaks then, counts as one failure."""
    with start().channel() as channel:
        stub = UdfWorkerStub(channel)
        with Stream(channel) as stream:
            stream.say(init(protocol_version=2))
            stream.hear(InitResponse)
            stream.call.cancel()
        wait_for_active(stub, 0)
        assert heartbeat(stub)["sessions_failed"] == "1"


def test_m6_a_worker_announces_itself(stub):
    metrics = heartbeat(stub)
    assert metrics["protocol_versions"] == "1"
    assert metrics["max_sessions"] == "256"
    assert metrics["max_message_bytes"] == str(128 << 20)
    assert "pipelining" in metrics["features"].split(",")


def test_m6_p7_p10_a_worker_announces_what_it_was_told(start):
    flags = ["--max-sessions", "3", "--max-message-bytes", "2MiB"]
    with start(*flags).channel() as channel:
        metrics = heartbeat(UdfWorkerStub(channel))
    assert (metrics["max_sessions"], metrics["max_message_bytes"]) == ("3", str(2 << 20))


@pytest.mark.parametrize("request_", [b"", b"\xfa\x7f\x05hello"], ids=["empty", "unknown"])
def test_m1_r14_an_unknown_branch_is_an_invalid_argument(channel, request_):
    """M1: an empty oneof, or a branch that the worker does not know."""
    manage = channel.unary_unary(f"/{SERVICE}/Manage", lambda message: message)
    with pytest.raises(grpc.RpcError) as failure:
        manage(request_, timeout=PATIENCE)
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "M1" in failure.value.details()


def test_m2_heartbeat_while_functions_are_held(start):
    """M2: answered while functions never return, readers never read, and their windows are full."""
    with start().channel() as channel:
        stub = UdfWorkerStub(channel)
        streams = [Stream(channel) for _ in range(16)]
        for index, stream in enumerate(streams):
            stream.open(init("echo/hang") if index % 2 else init("echo/generate", b"1000000000"))
            stream.say(*[data(bytes(1 << 20))] * (16 if index % 2 else 0))
        for _ in range(100):
            assert heartbeat(stub)["sessions_active"] == "16"
        # Those who hang are left behind by a client that goes; the worker ends all the same.
        for stream in streams:
            stream.call.cancel()
            stream.half_close()


def test_m5_health(channel):
    """M5: with the client that gRPC brings."""
    health = HealthStub(channel)
    for service in ["", SERVICE]:
        answer = health.Check(HealthCheckRequest(service=service), timeout=PATIENCE)
        assert answer.status == HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as failure:
        health.Check(HealthCheckRequest(service="unheard.of"), timeout=PATIENCE)
    assert failure.value.code() is grpc.StatusCode.NOT_FOUND


def test_m5_reflection(channel):
    """M5: the services and their messages, as our files have them."""
    served = ProtoReflectionDescriptorDatabase(channel)
    assert {SERVICE, "grpc.health.v1.Health"} <= set(served.get_services())
    service = DescriptorPool(served).FindServiceByName(SERVICE)
    assert [method.name for method in service.methods] == ["Execute", "Manage"]
    assert service.methods_by_name["Execute"].input_type.full_name == "org.apache.spark.udf.worker.UdfRequest"
    for ours in [common_pb2, udf_message_pb2]:
        expected, found = FileDescriptorProto(), FileDescriptorProto()
        ours.DESCRIPTOR.CopyToProto(expected)
        found.CopyFrom(served.FindFileByName(ours.DESCRIPTOR.name))
        # Comments are not part of the contract, and names of JSON follow from those of the fields.
        found.ClearField("source_code_info")
        assert without_json_names(found) == without_json_names(expected)


def without_json_names(file: FileDescriptorProto) -> FileDescriptorProto:
    pending = list(file.message_type)
    while pending:
        message = pending.pop()
        pending.extend(message.nested_type)
        for field in message.field:
            field.ClearField("json_name")
    return file


def test_p10_the_next_one_waits_for_a_place(start):
    """P10: with one place, an execution opens when the one before it has ended; Manage needs none."""
    with start("--max-sessions", "1").channel() as channel:
        stub = UdfWorkerStub(channel)
        before = Stream(channel)
        before.open(init())
        for _ in range(3):
            after = Stream(channel)
            after.say(init())
            wait_for_active(stub, 2)
            before.say(data(b"still the only one"), finish())
            assert before.hear(DataResponse).data == b"still the only one"
            before.hear(FinishResponse)
            before.must_end()
            assert not after.hear(InitResponse).HasField("error")
            before = after
        before.say(finish())
        before.hear(FinishResponse)


def test_r13_m2_sixty_four_streams_at_once(channel, stub):
    """64 executions on one connection, all open at the same time, each with its own data."""
    wait_for_active(stub, 0)
    streams = [Stream(channel) for _ in range(64)]
    for stream in streams:
        stream.say(init())
    for stream in streams:
        stream.hear(InitResponse)
    assert heartbeat(stub)["sessions_active"] == "64"
    for number, stream in enumerate(streams):
        stream.say(*[data(b"%d" % number)] * 10, finish())
    for number, stream in enumerate(streams):
        assert stream.hear_until(FinishResponse)[0] == [b"%d" % number] * 10
        stream.must_end()


def test_p11_m1_manage_understands_gzip(stub):
    answer = stub.Manage(HEARTBEAT, timeout=PATIENCE, compression=grpc.Compression.Gzip)
    assert answer.WhichOneof("manage") == "heartbeat"


def test_p11_manage_refuses_other_encodings(stub):
    # Long enough to be worth compressing.
    request = WorkerRequest(shutdown={"reason": "deflate " * 1_000})
    with pytest.raises(grpc.RpcError) as failure:
        stub.Manage(request, timeout=PATIENCE, compression=grpc.Compression.Deflate)
    assert failure.value.code() is grpc.StatusCode.UNIMPLEMENTED
