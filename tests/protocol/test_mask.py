"""Masking, and where its keys come from (RFC 6455 sections 5.3 and 10.3)."""

import importlib
import itertools
import os
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.protocol import wire
from tests.protocol.harness import frames, protocol
from tests.support.requirements import require
from trio_ws import __version__
from trio_ws._protocol import _mask
from trio_ws._protocol._mask import KeyPool, masking_keys

Mask = Callable[..., bytes]

EXTENSION = "trio_ws._protocol._speedups"
NOT_BUILT = "the extension in C was not built, which takes a C compiler when trio_ws is installed"


def by_the_rfc(data: bytes | memoryview, key: bytes, offset: int) -> bytes:
    """Mask one octet after the other, as RFC 6455 section 5.3 says it."""
    return bytes(octet ^ key[(offset + i) % 4] for i, octet in enumerate(data))


# For the whole module, because hypothesis wants nothing that is made for each test.
@pytest.fixture(scope="module", params=["python", "c"])
def mask(request: pytest.FixtureRequest) -> Mask:
    """The function under test: one of the two that do the same."""
    if request.param == "python":
        return _mask.mask_in_python
    require(find_spec(EXTENSION), NOT_BUILT)
    function: Mask = importlib.import_module(EXTENSION).mask
    return function


@pytest.fixture
def counting_urandom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the system's generator return 4-byte numbers, each once: 1, 2, 3 ..."""
    numbers = itertools.count(1)

    def urandom(size: int) -> bytes:
        assert size % 4 == 0
        return b"".join(next(numbers).to_bytes(4, "big") for _ in range(size // 4))

    monkeypatch.setattr(os, "urandom", urandom)


@pytest.fixture(autouse=True)
def fresh_keys() -> Iterator[None]:
    """Leave no key of a patched generator behind."""
    masking_keys.clear()
    yield
    masking_keys.clear()


@pytest.mark.checklist("FR13")
def test_mask_is_the_rfcs(mask: Mask) -> None:
    """Each length up to 130 at each offset in the key and each alignment is as in section 5.3."""
    store = memoryview(random.Random(1).randbytes(150))
    for size, offset, start in itertools.product(range(131), range(8), range(16)):
        data = store[start : start + size]
        masked = mask(data, wire.KEY, offset)
        assert masked == by_the_rfc(data, wire.KEY, offset), (size, offset, start)


@pytest.mark.checklist("FR13")
@pytest.mark.parametrize("seed", range(20))
def test_mask_of_large_data(mask: Mask, seed: int) -> None:
    """Data of any size up to 1 MiB, with any key, is masked as small data is."""
    rng = random.Random(seed)
    size = int(2 ** rng.uniform(7, 20))
    data, key = rng.randbytes(size + 15), rng.randbytes(4)
    start, offset = rng.randrange(16), rng.randrange(2**32)
    part = memoryview(data)[start : start + size]
    assert mask(part, key, offset) == by_the_rfc(part, key, offset)


@pytest.mark.checklist("FR13")
@pytest.mark.parametrize("size", [65535, 65536, 2**20])
def test_mask_of_data_in_pieces(mask: Mask, size: int) -> None:
    """Each piece, with its position as the offset, is the same piece of the whole one masked."""
    data = random.Random(size).randbytes(size)
    cuts = [0, 1, 5, 4099, 4102, size // 2 + 1, size]
    pieces = [mask(data[a:b], wire.KEY, a) for a, b in itertools.pairwise(cuts)]
    assert b"".join(pieces) == mask(data, wire.KEY) == wire.xor(data, wire.KEY)


@pytest.mark.checklist("FR13")
@given(data=st.binary(max_size=200), key=st.binary(min_size=4, max_size=4), offset=st.integers())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_mask_undoes_itself(mask: Mask, data: bytes, key: bytes, offset: int) -> None:
    """Masking twice gives the data back, and any key and offset give what the RFC describes."""
    masked = mask(data, key, offset)
    assert masked == by_the_rfc(data, key, offset)
    assert mask(masked, key, offset) == data


def test_mask_of_the_rfcs_example(mask: Mask) -> None:
    """The example of RFC 6455 section 5.7."""
    assert mask(b"Hello", b"\x37\xfa\x21\x3d") == b"\x7f\x9f\x4d\x51\x58"


KINDS = [bytes, bytearray, memoryview, lambda octets: memoryview(bytearray(octets))]


@pytest.mark.parametrize("kind", KINDS, ids=["bytes", "bytearray", "view", "view of bytearray"])
@pytest.mark.parametrize("size", [0, 5, 4096])
def test_mask_takes_what_is_like_bytes(
    mask: Mask, kind: Callable[[bytes], object], size: int
) -> None:
    """Data and key are anything like bytes, and stay as they were; the result is new bytes."""
    octets = random.Random(size).randbytes(size)
    data, key = kind(octets), kind(wire.KEY)
    masked = mask(data, key, 3)
    assert type(masked) is bytes
    assert masked == by_the_rfc(octets, wire.KEY, 3)
    assert (data, key) == (octets, wire.KEY)


WRONG: list[tuple[tuple[object, ...], type[Exception], str]] = [
    ((b"data", b""), ValueError, "key: 0 bytes instead of 4"),
    ((b"data", b"key"), ValueError, "key: 3 bytes instead of 4"),
    ((b"", bytearray(b"5keys"), 7), ValueError, "key: 5 bytes instead of 4"),
    (("data", b"keys"), TypeError, "bytes-like"),
    ((None, b"keys"), TypeError, "bytes-like"),
    ((8, b"keys"), TypeError, "bytes-like"),
    (([1, 2], b"keys"), TypeError, "bytes-like"),
    ((bytearray(b"data"), "keys"), TypeError, "bytes-like"),
    ((bytearray(b"data"), 4), TypeError, "bytes-like"),
    ((bytearray(b"data"), [1, 2, 3, 4]), TypeError, "bytes-like"),
    ((bytearray(b"data"), bytearray(b"keys"), "0"), TypeError, "integer|operand"),
    ((bytearray(b"data"), bytearray(b"keys"), 0.0), TypeError, "integer|operand"),
    ((bytearray(b"data"), bytearray(b"keys"), None), TypeError, "integer|operand"),
    ((), TypeError, "argument"),
    ((b"data",), TypeError, "argument"),
    ((b"data", b"keys", 0, 0), TypeError, "argument"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), WRONG, ids=[str(w[0]) for w in WRONG])
def test_mask_refuses(
    mask: Mask, arguments: tuple[object, ...], error: type[Exception], message: str
) -> None:
    """A key that has not 4 bytes, a wrong type or number of arguments is an error."""
    own = [bytearray(a) if isinstance(a, bytearray) else a for a in arguments]
    with pytest.raises(error, match=message):
        mask(*own)
    for argument in own:
        if isinstance(argument, bytearray):
            argument.append(0)  # which a view that was not released would forbid


def test_mask_has_no_keywords(mask: Mask) -> None:
    """Arguments go by their position: names would cost time."""
    with pytest.raises(TypeError, match="keyword"):
        mask(b"data", key=b"keys")


def test_mask_holds_on_to_nothing(mask: Mask) -> None:
    """What was passed is free afterwards."""
    data, key = bytearray(b"data"), bytearray(b"keys")
    before = sys.getrefcount(data), sys.getrefcount(key)
    for _ in range(3):
        mask(data, key, 1)
    assert (sys.getrefcount(data), sys.getrefcount(key)) == before
    data.clear()
    key.clear()


_VERSION = f"""
import runpy, sys
if sys.argv.pop() == "not built":
    sys.modules["{EXTENSION}"] = None
runpy.run_module("trio_ws", run_name="__main__")
"""


@pytest.mark.parametrize(
    ("switch", "built", "language"),
    [("", "built", "C"), ("1", "built", "Python"), ("", "not built", "Python")],
    ids=["as it comes", "switched off", "not built"],
)
def test_the_extension_is_optional(switch: str, built: str, language: str) -> None:
    """Masking is in C if the extension was built and TRIO_WS_NO_EXTENSION is not set."""
    require(built != "built" or find_spec(EXTENSION), NOT_BUILT)
    done = subprocess.run(
        [sys.executable, "-c", _VERSION, "--version", built],
        env={**environment(), "TRIO_WS_NO_EXTENSION": switch},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"trio_ws {__version__}, masking in {language}\n"


def environment() -> dict[str, str]:
    """Return the environment for a process that imports the same package as this one."""
    return {**os.environ, "PYTHONPATH": str(Path(_mask.__file__).parents[2])}


@pytest.mark.checklist("FR10")
@pytest.mark.usefixtures("counting_urandom")
def test_keys_are_the_systems_random_bytes() -> None:
    """Each key is 4 bytes from os.urandom, and none of its bytes is used twice."""
    pool = KeyPool()
    keys = [pool.take() for _ in range(5000)]
    assert {len(key) for key in keys} == {4}
    assert len(set(keys)) == len(keys)
    numbers = {int.from_bytes(key, "big") for key in keys}
    assert max(numbers) < 5000 + 2048  # the pool is small, so that little is asked for in vain


def test_the_system_is_asked_for_256_keys_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer would cost a system call more often, more would be thrown away after a fork."""
    asked: list[int] = []

    def urandom(size: int) -> bytes:
        asked.append(size)
        return bytes(size)

    monkeypatch.setattr(os, "urandom", urandom)
    pool = KeyPool()
    for _ in range(3 * 256):
        pool.take()
    assert asked == [1024, 1024, 1024]


@pytest.mark.checklist("FR09")
@pytest.mark.usefixtures("counting_urandom")
def test_a_million_keys_never_repeat() -> None:
    """The pool hands out each 4 bytes of the system's generator once."""
    pool = KeyPool()
    assert len({pool.take() for _ in range(10**6)}) == 10**6


@pytest.mark.checklist("FR09")
def test_a_million_real_keys_have_no_pattern() -> None:
    """Real keys collide no more often than chance has it, and each octet is evenly spread."""
    pool = KeyPool()
    keys = [pool.take() for _ in range(10**6)]
    assert len(set(keys)) > 10**6 - 300  # 116 are expected, with a deviation of 11
    assert len(set(itertools.pairwise(keys))) > 10**6 - 3
    stream = b"".join(keys)
    for lane in range(4):
        counts = Counter(stream[lane::4])
        assert len(counts) == 256
        assert all(3400 < count < 4400 for count in counts.values())  # 3906, deviation 62


@pytest.mark.checklist("FR09")
@pytest.mark.usefixtures("counting_urandom")
def test_a_client_masks_each_frame_with_a_new_key() -> None:
    """Data and control frames, empty or not, are masked, each with a key of its own."""
    client = protocol(client=True)
    for _ in range(600):
        client.send_message(b"data", text=False)
        client.send_message(b"", text=True)
        client.send_ping(b"")
        client.send_pong(b"pong")
    client.send_close(1000)
    keys = [frame.key for frame in frames(client)]
    assert len(keys) == len(set(keys)) == 2401
    assert None not in keys


@pytest.mark.usefixtures("counting_urandom")
def test_threads_share_the_pool_safely() -> None:
    """Several threads, each with an event loop of its own, get whole keys, each a different one."""
    pool = KeyPool()
    taken: list[list[bytes]] = [[] for _ in range(4)]
    start = threading.Barrier(4)

    def take(keys: list[bytes]) -> None:
        start.wait()
        keys.extend(pool.take() for _ in range(20_000))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=take, args=[keys]) for keys in taken]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    keys = [key for mine in taken for key in mine]
    assert {len(key) for key in keys} == {4}
    assert len(set(keys)) == 80_000


@pytest.mark.checklist("FR10")
def test_clear_forgets_the_stock(monkeypatch: pytest.MonkeyPatch) -> None:
    """After `clear`, the next key is asked of the system."""
    pool = KeyPool()
    pool.take()
    monkeypatch.setattr(os, "urandom", lambda size: b"new!" * (size // 4))
    assert pool.take() != b"new!"
    pool.clear()
    assert pool.take() == b"new!"


_FORK = """
import os
from trio_ws._protocol._mask import masking_keys

masking_keys.take()
read, write = os.pipe()
child = os.fork()
keys = [masking_keys.take() for _ in range(64)]
if child:
    os.waitpid(child, 0)
    theirs = os.read(read, 1024)
    print(len(theirs), any(key in theirs for key in keys))
else:
    os.write(write, b"".join(keys))
    os._exit(0)
"""


@pytest.mark.checklist("FR10")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_keys_differ_after_a_fork() -> None:
    """A forked child does not take the keys that its parent has in stock."""
    done = subprocess.run(
        [sys.executable, "-c", _FORK],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["256", "False"], done.stderr
