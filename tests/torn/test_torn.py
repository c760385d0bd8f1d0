import shlex

import pytest

from tests.torn.__main__ import main
from tests.torn.conversation import RECORDINGS, load, load_all, pack, unpack
from tests.torn.engine import same_randomness
from tests.torn.replay import Tally, check_all
from tests.torn.sabotage import SABOTAGES, Sabotage, found

FILES = sorted(path.stem for path in RECORDINGS.glob("*.json"))


@pytest.mark.checklist("FR12", "FR13", "FG04", "U02", "SH26", "CH17", "PD03", "LM10")
@pytest.mark.parametrize("file", FILES)
def test_torn_input_leads_to_the_same(file: str) -> None:
    """Whole, in two pieces, byte by byte or at random: equal events, bytes out and final state."""
    tally = Tally()
    with same_randomness():
        for conversation in load(RECORDINGS / f"{file}.json"):
            check_all(conversation, tally, number=2, seed=1, every=False)
    assert tally.violations == []
    assert tally.replays > 10 * tally.conversations > 0


def test_the_recordings() -> None:
    """There are over 500, of both roles, of opening handshakes, and of other libraries' peers."""
    conversations = load_all().values()
    assert len(conversations) > 500
    for role in ("client", "server"):
        ours = [item for item in conversations if item.setup.role == role]
        assert len(ours) > 200
        assert sum(item.setup.opening for item in ours) > 40
        for library in ("websockets", "wsproto"):
            assert sum(item.name.startswith(library) for item in ours) >= 10


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda sabotage: sabotage.name)
def test_a_bug_is_found(sabotage: Sabotage) -> None:
    """Each bug that is put in on purpose is found."""
    assert found(sabotage, load_all())


def test_a_violation_is_printed_as_the_command_that_replays_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The command fails as long as the bug is there, and not without it."""
    sabotage = SABOTAGES[0]
    violation = found(sabotage, load_all())[0]
    program, *arguments = shlex.split(violation.partition("\n")[2])[2:]
    assert program == "tests.torn"
    with sabotage.patch():
        assert main(arguments) == 1
    assert main(arguments) == 0
    assert capsys.readouterr().out.endswith("equal\n")


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00", bytes(100), b"abcd" * 20 + b"x", b"GET / HTTP/1.1\r\nA: b\r\n\r\n\x81\x00"],
    ids=["empty", "byte", "run", "long-run", "head"],
)
def test_bytes_in_a_file(data: bytes) -> None:
    """Bytes are the same after they were written and read."""
    assert unpack(pack(data)) == data
