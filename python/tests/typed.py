"""A program as users write one: mypy reads it, as strictly as it can, and `test_package.py` runs it."""

import asyncio
from collections.abc import Iterator
from typing import Annotated

import pyarrow as pa

import anyudf


@anyudf.udf
def fahrenheit(celsius: float) -> float:
    return celsius * 1.8 + 32.0


@anyudf.udf(kind="batch", returns="float64", volatility="immutable", timeout="30s")
def doubled(x: pa.DoubleArray) -> pa.DoubleArray:
    return pa.array([value * 2 for value in x.to_pylist()])


@anyudf.udf(kind="table", returns={"n": "int64"})
def count(to: int) -> Iterator[tuple[int]]:
    yield from ((n,) for n in range(to))


@anyudf.udf(kind="aggregate")
class Sum:
    def __init__(self) -> None:
        self.sum = 0.0

    def update(self, value: Annotated[float, "float32"]) -> None:
        self.sum += value

    def merge(self, other: "Sum") -> None:
        self.sum += other.sum

    def finish(self) -> float:
        return self.sum


def blocking() -> list[str]:
    table: pa.Table = anyudf.run(fahrenheit, {"celsius": [100.0, None]}, progress=lambda done, total: None)
    names: list[str] = [fahrenheit.name, doubled.kind, count.with_options(to=3).name, Sum.__name__]
    with anyudf.Dispatcher(max_workers=1, environment={"A": "b"}) as dispatcher:
        catalog: anyudf.Catalog | None = dispatcher.catalog()
        if catalog is not None:
            names += [catalog["count_rows"].kind]
        with dispatcher.session("echo_batches", args=["fahrenheit"], timeout=1.0) as session:
            rows: int = sum(batch.num_rows for batch in session.process(table))
            status: str | None = session.ended
    return [*names, str(rows), str(status)]


async def in_a_loop() -> int:
    async with anyudf.Dispatcher() as dispatcher, dispatcher.session("echo_batches") as session:
        try:
            return sum([batch.num_rows async for batch in session.process({"x": [1]})])
        except anyudf.UserError as error:
            return len(error.condition)


def mistakes() -> None:
    """What a checker has to find: mypy tells of each that is none, since then it has nothing to ignore."""
    anyudf.udf(kind="scaler")  # type: ignore[call-overload]
    anyudf.udf(len, volatile=True)  # type: ignore[call-overload]
    fahrenheit.tset([1.0])  # type: ignore[attr-defined]
    anyudf.run("f", {"x": [1]}, arg=["x"])  # type: ignore[call-arg]
    anyudf.run("f", {"x": [1]}, jobs="2")  # type: ignore[arg-type]
    anyudf.Dispatcher(7)  # type: ignore[arg-type]
    anyudf.Dispatcher(max_worker=1)  # type: ignore[call-arg]


if __name__ == "__main__":
    print(blocking(), asyncio.run(in_a_loop()))
