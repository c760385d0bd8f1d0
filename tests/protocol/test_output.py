"""The output buffer."""

import tracemalloc
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_ws._protocol._output import Output


def filled(*chunks: bytes) -> Output:
    """An output with these chunks."""
    output = Output()
    for chunk in chunks:
        output.append(chunk)
    return output


def take(output: Output, limit: int) -> bytes:
    """Take up to `limit` bytes away."""
    data = bytes(output.peek(limit))
    output.advance(len(data))
    return data


def test_small_chunks_leave_together() -> None:
    """What fits is joined in the order in which it was appended."""
    output = filled(b"abc", b"d", b"ef")
    assert output.size == 6
    assert bytes(output.peek(100)) == b"abcdef"
    assert output.size == 6  # to look takes nothing away
    assert take(output, 6) == b"abcdef"
    assert output.size == 0


def test_a_single_chunk_is_not_copied() -> None:
    """A chunk that is alone goes out as it is, and if a part of it is left, as a view."""
    chunk = bytes(range(256)) * 1024
    output = filled(chunk)
    assert output.peek(2**20) is chunk
    assert output.peek(len(chunk)) is chunk
    part = output.peek(1000)
    assert isinstance(part, memoryview)
    assert part.obj is chunk
    output.advance(1000)
    rest = output.peek(2**20)
    assert isinstance(rest, memoryview)
    assert (rest.obj, bytes(rest)) == (chunk, chunk[1000:])


def test_a_large_chunk_is_not_copied_for_those_behind_it() -> None:
    """A chunk over the limit goes out in views, though others wait behind it."""
    large = bytes(100_000)
    output = filled(large, b"small")
    part = output.peek(16_384)
    assert isinstance(part, memoryview)
    assert part.obj is large
    assert len(part) == 16_384
    output.advance(len(part))
    assert b"".join(take(output, 16_384) for _ in range(7)) == bytes(100_000 - 16_384) + b"small"
    assert output.size == 0


def test_data_in_flight_is_not_touched() -> None:
    """What `peek` has returned stays as it is while more is appended, and after `clear`."""
    output = filled(b"abc")
    data = output.peek(10)
    output.advance(1)
    view = output.peek(10)
    output.append(b"def")
    assert (bytes(data), bytes(view)) == (b"abc", b"bc")
    output.clear()
    assert (bytes(data), bytes(view)) == (b"abc", b"bc")


def test_clear_drops_all() -> None:
    """After `clear` the output is empty, also if a part of it had gone out."""
    output = filled(b"abc", b"def")
    output.advance(4)
    output.clear()
    assert output.size == 0
    output.append(b"ghi")
    assert take(output, 10) == b"ghi"


def test_advance_after_clear() -> None:
    """A write that ends after `clear` has nothing left to drop."""
    output = filled(b"abc")
    data = output.peek(10)
    output.clear()
    output.advance(len(data))
    assert output.size == 0
    output.append(b"def")
    assert take(output, 10) == b"def"


def test_many_small_chunks_take_little_memory() -> None:
    """Chunks of two bytes take about their size, or a flood of pings would cost 20 times it."""
    tracemalloc.start()
    try:
        output = Output()
        for at in range(32_768):
            output.append(at.to_bytes(2, "big"))
        assert tracemalloc.get_traced_memory()[0] < 2 * output.size
    finally:
        tracemalloc.stop()
    assert take(output, 2**20) == b"".join(at.to_bytes(2, "big") for at in range(32_768))


@pytest.mark.parametrize("step", [1, 100, 5000])
@pytest.mark.parametrize("later", [0, 50], ids=["all-at-once", "more-meanwhile"])
def test_a_slow_reader_does_not_make_us_join_again(step: int, later: int) -> None:
    """However little a peer takes at a time, joined chunks are not joined for each time again."""
    output = filled(*(bytes(3000) for _ in range(20)))
    total = output.size
    seen: dict[int, bytes] = {}  # keeps the objects, so that no two of them have one address
    while output.size:
        data = output.peek(2**20)
        whole = data.obj if isinstance(data, memoryview) else data
        assert isinstance(whole, bytes)
        seen[id(whole)] = whole
        output.advance(min(step, len(data)))
        if later:
            output.append(bytes(3000))
            total += 3000
            later -= 1
    assert sum(map(len, seen.values())) <= 2 * total


CHUNKS = st.lists(st.binary(min_size=1, max_size=50) | st.integers(1, 9000).map(bytes), max_size=12)


@given(
    chunks=CHUNKS,
    later=CHUNKS,
    limits=st.lists(st.integers(1, 100) | st.integers(1, 20_000), min_size=20, max_size=20),
    taken=st.lists(st.floats(0, 1), min_size=1, max_size=10),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_bytes_leave_in_order(
    chunks: list[bytes], later: list[bytes], limits: list[int], taken: list[float]
) -> None:
    """Whatever is appended, and however it is taken, the same bytes come out, in order."""
    output = filled(*chunks)
    everything = b"".join([*chunks, *later])
    out = b""
    more = list(later)
    sizes = list(accumulate(map(len, chunks), initial=0))
    assert output.size == sizes[-1]
    for at, limit in enumerate(limits * 200):
        if more:
            output.append(more.pop(0))
        if not output.size:
            break
        data = bytes(output.peek(limit))
        assert 0 < len(data) <= limit
        gone = int(len(data) * taken[at % len(taken)])
        output.advance(gone)
        out += data[:gone]
        assert output.size == len(everything) - len(out) - sum(map(len, more))
    while output.size:
        out += take(output, 10_000)
    assert out == everything
