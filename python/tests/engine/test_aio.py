"""In an event loop nothing blocks, and who is cancelled cancels."""

import asyncio

import pyarrow as pa
import pytest

import anyudf


def on_loop(test):
    """Runs an async test."""

    def run():
        asyncio.run(asyncio.wait_for(test(), 30))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


async def rows():
    for row in range(100):
        yield {"x": [row]}


@on_loop
async def test_batches_go_in_and_out():
    async with anyudf.Dispatcher() as dispatcher:
        for batches in (rows(), [{"x": [row]} for row in range(100)], ({"x": [row]} for row in range(100))):
            async with dispatcher.session("echo_batches") as session:
                taken = [batch["x"][0].as_py() async for batch in session.process(batches)]
            assert taken == list(range(100))
            assert (session.ended, session.metrics["rows_in"]) == ("finished", 100)
        async with dispatcher.session("generate_series", options={"start": 1, "stop": 3}) as session:
            assert [batch.num_rows async for batch in session.process()] == [3]


@on_loop
async def test_many_at_once_take_no_threads():
    import threading

    before = threading.active_count()
    async with anyudf.Dispatcher() as dispatcher:
        calls = [anyudf.run_async("echo_batches", {"x": [one]}, worker=dispatcher) for one in range(100)]
        tables = await asyncio.gather(*calls)
    assert [table["x"][0].as_py() for table in tables] == list(range(100))
    assert threading.active_count() == before


@on_loop
async def test_the_loop_goes_on_while_a_function_works():
    async with anyudf.Dispatcher(anyudf.python_worker()) as dispatcher:
        turns = 0

        def slow(x: int) -> int:
            import time

            time.sleep(0.3)
            return x

        async def turn():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        turning = asyncio.ensure_future(turn())
        assert (await anyudf.run_async(slow, {"x": [1]}, worker=dispatcher)).num_rows == 1
        turning.cancel()
        assert turns > 100


@on_loop
async def test_e9_who_is_cancelled_cancels():
    async with anyudf.Dispatcher() as dispatcher:
        session = dispatcher.session("echo_batches", input_schema=pa.schema({"x": pa.int64()}))
        waiting = asyncio.ensure_future(session.next_async())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await session.close_async()
        assert session.ended == "cancelled"


@on_loop
async def test_e9_also_in_the_middle_of_a_run():
    async with anyudf.Dispatcher(anyudf.python_worker(), max_workers=1) as dispatcher:

        def sleepy(x: int) -> int:
            import time

            while True:
                time.sleep(0.01)

        def quick(x: int) -> int:
            return x

        await anyudf.run_async(quick, {"x": [1]}, worker=dispatcher)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anyudf.run_async(sleepy, {"x": [1]}, worker=dispatcher), 0.3)
        assert (await anyudf.run_async(quick, {"x": [1]}, worker=dispatcher)).num_rows == 1


@on_loop
async def test_e8_what_the_input_raises_comes_out_as_it_is():
    async def failing():
        yield {"x": [1]}
        raise KeyError("mine")

    def failing_too():
        yield {"x": [1]}
        raise KeyError("mine")

    async with anyudf.Dispatcher() as dispatcher:
        for batches in (failing(), failing_too()):
            async with dispatcher.session("echo_batches") as session:
                with pytest.raises(KeyError, match="mine"):
                    async for _ in session.process(batches):
                        pass
            assert session.ended == "cancelled"


@on_loop
async def test_e12_whoever_stops_iterating_cancels():
    async with anyudf.Dispatcher() as dispatcher:
        async with dispatcher.session("generate_series", options={"start": 1, "stop": 10**12}) as session:
            async for _ in session.process():
                break
        assert session.ended == "cancelled"


@on_loop
async def test_errors_are_the_same():
    async with anyudf.Dispatcher() as dispatcher:
        with pytest.raises(anyudf.UserError, match="there is no function"):
            await anyudf.run_async("nothing", {"x": [1]}, worker=dispatcher)
        with pytest.raises(anyudf.MisuseError, match="takes 4 arguments"):
            await anyudf.run_async("distance_miles", {"x": [1]}, worker=dispatcher)
        assert "distance_miles" in await dispatcher.catalog_async()
    with pytest.raises(anyudf.MisuseError, match="is closed"):
        await anyudf.run_async("echo_batches", {"x": [1]}, worker=dispatcher)


def test_a_dispatcher_outlives_its_loop():
    with anyudf.Dispatcher() as dispatcher:
        for _ in range(3):
            table = asyncio.run(anyudf.run_async("echo_batches", {"x": [1]}, worker=dispatcher))
            assert table.num_rows == 1
