"""Masking, and where its keys come from (RFC 6455 sections 5.3 and 10.3)."""

import itertools
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.protocol import wire
from tests.protocol.harness import frames, protocol
from trio_ws._protocol import _mask
from trio_ws._protocol._mask import KeyPool, masking_keys

Mask = Callable[[bytes, bytes, int], bytes]

IMPLEMENTATIONS = [pytest.param(_mask.mask, id="python")]


def by_the_rfc(data: bytes, key: bytes, offset: int) -> bytes:
    """Mask one octet after the other, as RFC 6455 section 5.3 says it."""
    return bytes(octet ^ key[(offset + i) % 4] for i, octet in enumerate(data))


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
@pytest.mark.parametrize("mask", IMPLEMENTATIONS)
def test_mask_is_the_rfcs(mask: Mask) -> None:
    """Each length up to 130 at each offset in the key gives what section 5.3 describes."""
    data = bytes(range(7, 137))
    for size, offset in itertools.product(range(131), range(9)):
        expected = by_the_rfc(data[:size], wire.KEY, offset)
        assert mask(data[:size], wire.KEY, offset) == expected, (size, offset)


@pytest.mark.checklist("FR13")
@pytest.mark.parametrize("mask", IMPLEMENTATIONS)
@pytest.mark.parametrize("size", [65535, 65536, 2**20 + 3])
def test_mask_of_large_data(mask: Mask, size: int) -> None:
    """Large data is masked as small data is."""
    data = (bytes(range(251)) * (size // 251 + 1))[:size]
    assert mask(data, wire.KEY, 0) == wire.xor(data, wire.KEY)
    assert mask(data[5:], wire.KEY, 5) == wire.xor(data, wire.KEY)[5:]


@pytest.mark.checklist("FR13")
@pytest.mark.parametrize("mask", IMPLEMENTATIONS)
@given(data=st.binary(max_size=200), key=st.binary(min_size=4, max_size=4), offset=st.integers(0))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_mask_undoes_itself(mask: Mask, data: bytes, key: bytes, offset: int) -> None:
    """Masking twice gives the data back, and any key and offset give what the RFC describes."""
    masked = mask(data, key, offset)
    assert masked == by_the_rfc(data, key, offset)
    assert mask(masked, key, offset) == data


@pytest.mark.parametrize("mask", IMPLEMENTATIONS)
def test_mask_of_the_rfcs_example(mask: Mask) -> None:
    """The example of RFC 6455 section 5.7."""
    assert mask(b"Hello", b"\x37\xfa\x21\x3d", 0) == b"\x7f\x9f\x4d\x51\x58"


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
    root = Path(_mask.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", _FORK],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["256", "False"], done.stderr
