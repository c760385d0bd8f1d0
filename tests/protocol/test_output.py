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
    assert b"".join(take(output, 16_384) for _ in range(6)) == bytes(100_000 - 16_384) + b"small"
    assert output.size == 0


def test_a_record_is_filled() -> None:
    """Whatever the chunks are, `peek` has as much as there may be, so TLS has few records."""
    output = filled(b"head", bytes(20_000), b"next", bytes(20_000))
    sizes = []
    while output.size:
        sizes.append(len(take(output, 16_384)))
    assert sizes == [16_384, 16_384, 40_008 - 2 * 16_384]


def test_data_in_flight_is_not_touched() -> None:
    """What was returned stays as it is while more is appended, and after `clear`."""
    output = filled(b"abc")
    data = output.peek(10)
    (same,) = output.vector(10)
    output.advance(1)
    view = output.peek(10)
    (rest,) = output.vector(10)
    for _ in range(100):
        output.append(b"def")
    output.vector(10)
    assert (bytes(data), bytes(same), bytes(view), bytes(rest)) == (b"abc", b"abc", b"bc", b"bc")
    output.clear()
    assert (bytes(data), bytes(same), bytes(view), bytes(rest)) == (b"abc", b"abc", b"bc", b"bc")


# Chunks beside one another


@pytest.mark.parametrize(
    ("sizes", "vector"),
    [
        pytest.param([10], [10], id="one"),
        pytest.param([10, 20, 30], [60], id="small"),
        pytest.param([4, 10_000, 2, 6_000], [16_006], id="together small"),
        pytest.param([4, 16_380], [16_384], id="together 16 KiB"),
        pytest.param([4, 16_381], [4, 16_381], id="a byte more"),
        pytest.param([4, 10**6, 4, 10**6], [4, 10**6, 4, 10**6], id="large"),
    ],
)
def test_chunks_leave_beside_one_another(sizes: list[int], vector: list[int]) -> None:
    """Up to 16 KiB are made one to be sent; what is larger is not copied."""
    chunks = [bytes([at]) * size for at, size in enumerate(sizes)]
    output = filled(*chunks)
    got = output.vector(10)
    assert [*map(len, got)] == vector
    assert b"".join(got) == b"".join(chunks)
    if len(got) == len(chunks):
        assert all(one is other for one, other in zip(got, chunks, strict=True))
    assert output.size == sum(sizes)
    output.advance(output.size)
    assert output.size == 0


def test_the_number_of_chunks_is_limited() -> None:
    """A system call takes only so many."""
    chunks = [bytes([at]) * 20_000 for at in range(10)]
    output = filled(*chunks)
    assert output.vector(4) == chunks[:4]
    output.advance(80_000)
    assert output.vector(4) == chunks[4:8]
    output.advance(1)
    assert output.vector(4) == [chunks[4][1:], *chunks[5:8]]
    assert output.vector(1) == [chunks[4][1:]]


@pytest.mark.parametrize("gone", [1, 3, 4, 5, 19_999, 20_003, 20_004, 20_005])
def test_what_is_left_of_a_chunk_is_a_view(gone: int) -> None:
    """After a write that took less, the rest goes out from there, and is not copied."""
    chunks = [b"head", bytes(20_000), b"next", bytes(20_000)]
    output = filled(*chunks)
    output.advance(gone)
    got = output.vector(10)
    assert b"".join(got) == b"".join(chunks)[gone:]
    first = got[0]
    whole = first.obj if isinstance(first, memoryview) else first
    assert whole in chunks
    assert [*got[1:]] == chunks[len(chunks) - len(got) + 1 :]


def test_the_rest_of_a_small_chunk_is_not_joined() -> None:
    """Else a peer that takes a byte each time would make us copy all of it each time."""
    output = filled(bytes(1000), b"next")
    output.advance(1)
    first, second = output.vector(10)
    assert isinstance(first, memoryview)
    assert (len(first), second) == (999, b"next")


def test_small_chunks_are_joined() -> None:
    """A flood of pongs makes few chunks, by copies of 4 KiB, also while some of it goes out."""
    output = filled(bytes(20_000))
    joined: dict[int, bytes | memoryview] = {}
    for _ in range(400):
        for _ in range(64):
            output.append(b"pong")
        # The first is the large one; to keep the others keeps their addresses apart.
        joined.update((id(chunk), chunk) for chunk in output.vector(1000)[1:])
        output.advance(1)
    sizes = [*map(len, output.vector(1000))]
    assert sum(sizes) == output.size == 20_000 - 400 + 400 * 64 * 4
    assert len(sizes) <= 2 * 64
    assert max(map(len, joined.values())) < 4096 + 64 * 4  # no chunk is copied once it has 4 KiB


@pytest.mark.parametrize("at", [0, 1, 30, 61, 62, 63])
def test_a_large_chunk_among_small_ones_is_not_copied(at: int) -> None:
    """Small chunks are made one only as far as there is none between them that is large."""
    large = bytes(20_000)
    chunks = [b"x"] * 64
    chunks[at] = large
    output = filled(*chunks)
    vector = output.vector(1000)
    assert [*map(len, vector)] == [1] * at + [20_000] + ([63 - at] if at < 63 else [])
    assert vector[at] is large


@pytest.mark.parametrize("size", [4095, 4096])
@pytest.mark.parametrize("count", [63, 64, 65, 128])
def test_no_chunk_is_empty(count: int, size: int) -> None:
    """Also where there is nothing to be made one, all chunks that go out have bytes."""
    assert not [*Output().vector(10)]
    output = filled(*[bytes(size)] * count)
    vector = output.vector(1000)
    assert all(vector)
    assert (len(vector) == count) is (size == 4096 or count < 64)
    assert b"".join(vector) == bytes(size * count)


def test_clear_drops_all() -> None:
    """After `clear` the output is empty, also if a part of it had gone out."""
    output = filled(b"abc", b"def")
    output.advance(4)
    output.clear()
    assert output.size == 0
    output.append(b"ghi")
    assert take(output, 10) == b"ghi"


@pytest.mark.parametrize("count", range(60, 70))
@pytest.mark.parametrize("clear", [True, False])
def test_nothing_is_left_of_what_was(count: int, clear: bool) -> None:
    """Small chunks that were dropped, or sent, count no more when others are made one."""
    output = filled(*([b"x"] * count))
    if clear:
        output.clear()
    else:
        output.advance(count)
    output.append(b"next")
    output.advance(1)
    assert output.vector(10) == [b"ext"]


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
    seen: dict[int, object] = {}  # keeps the objects, so that no two of them have one address
    while output.size:
        vector = output.vector(4)
        for data in vector:
            whole = data.obj if isinstance(data, memoryview) else data
            seen[id(whole)] = whole
        output.advance(min(step, *map(len, vector)))
        if later:
            output.append(bytes(3000))
            total += 3000
            later -= 1
    assert sum(len(whole) for whole in seen.values() if isinstance(whole, bytes)) <= 2 * total


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


OPERATIONS = st.lists(
    st.tuples(st.just("append"), st.integers(1, 100) | st.integers(1, 20_000))
    | st.tuples(st.just("flood"), st.integers(1, 150))
    | st.tuples(st.sampled_from(["peek", "vector"]), st.integers(1, 100) | st.integers(1, 20_000))
    | st.tuples(st.just("advance"), st.integers(0, 100) | st.integers(0, 40_000))
    | st.tuples(st.just("clear"), st.just(0)),
    max_size=60,
)


@given(operations=OPERATIONS)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_it_is_but_a_string_of_bytes(operations: list[tuple[str, int]]) -> None:
    """Whatever is done to it, in any order, it behaves as the bytes that were not sent yet."""
    output = Output()
    model = b""
    source = 0

    def append(size: int) -> None:
        nonlocal model, source
        data = bytes((source + at) % 251 for at in range(size))
        source += size
        output.append(data)
        model += data

    for operation, number in operations:
        if operation == "append":
            append(number)
        elif operation == "flood":
            for _ in range(number):
                append(2)
        elif operation == "clear":
            output.clear()
            model = b""
        elif operation == "advance":
            output.advance(number)
            model = model[number:]
        elif operation == "peek" and model:
            data = output.peek(number)
            assert data == model[:number]
        elif operation == "vector" and model:
            vector = output.vector(number)
            assert 0 < len(vector) <= number
            assert all(vector)
            assert model.startswith(b"".join(vector))
        assert output.size == len(model)
    while output.size:
        data = output.peek(10_000)
        assert model.startswith(bytes(data))
        model = model[len(data) :]
        output.advance(len(data))
    assert not model
