"""The mutants of `tests.mutation`: what is changed, and that a test that is missing is noticed."""

import subprocess
import sys
from collections.abc import Sequence

import pytest

from tests.mutation import argued
from tests.mutation.__main__ import judge
from tests.mutation.mutants import ROOT, Mutant, find, modules, mutants_of
from tests.mutation.suite import Outcome
from tests.support.requirements import require

ON_LINUX = sys.platform.startswith("linux")

SNIPPETS: list[tuple[str, set[str]]] = [
    ("x = 0", {"0 -> 1"}),
    ("x = 5", {"5 -> 6", "5 -> 4"}),
    ("x = 'a'", {"'a' -> 'XXa'"}),
    ("x = True", {"True -> False"}),
    ("x = a < b", {"a < b -> (a <= b)", "a < b -> (a >= b)"}),
    ("x = a is b", {"a is b -> (a is not b)"}),
    ("x = a or b", {"a or b -> (a and b)", "a or b -> a", "a or b -> b"}),
    ("x = not a", {"not a -> a"}),
    ("x = a + b", {"a + b -> (a - b)"}),
    ("x = a if b else c", {"b -> True", "b -> False"}),
    ("x = a[b:]", {"b: -> :"}),
    ("x = a.strip()", {"a.strip() -> a.lstrip()"}),
    ("x = f(a=b)", {"f(a=b) -> f()"}),
    ("x += y", {"x += y -> pass", "x += y -> x = y", "x += y -> x -= y"}),
    ("x.y = z", {"x.y = z -> pass"}),
    ("f()", {"f() -> pass"}),
    ("if x:\n    y()", {"x -> True", "x -> False", "y() -> pass"}),
    ("while x:\n    break", {"x -> False", "break -> pass"}),
    ("for x in y:\n    continue", {"continue -> pass", "continue -> break"}),
    ("def f():\n    return x", {"return x -> return None"}),
    ("def f():\n    'A docstring.'\n    assert x", set()),
    ("def f(x: 'int' = 0):\n    raise KeyError", {"0 -> 1", "raise KeyError -> pass"}),
    ("raise ValueError('words', 0)", {"raise ValueError('words', 0) -> pass", "0 -> 1"}),
    ("x = r'[ab]*'", {"r'[ab]*' -> 'XX[ab]*'"} | {f"[ab] -> {s}" for s in ("[^ab]", "[a]", "[b]")}
     | {"* -> +", "* -> nothing"}),
]  # fmt: skip


@pytest.mark.parametrize(("source", "changes"), SNIPPETS, ids=[source for source, _ in SNIPPETS])
def test_operators(source: str, changes: set[str]) -> None:
    """Each expression and statement has the mutants that are listed here, and no others."""
    assert {f"{each.before} -> {each.after or 'nothing'}" for each in find("_x", source)} == changes


def test_mutants_have_names_and_keys_of_their_own() -> None:
    """A name is enough to find a mutant again, and a key to list it."""
    mutants = all_mutants()
    assert len({mutant.name for mutant in mutants}) == len(mutants)
    assert len({(mutant.module, mutant.key) for mutant in mutants}) == len(mutants)
    assert {mutant.module for mutant in mutants} >= {"_frames", "_headers", "_machine", "_mask"}


def test_each_argued_mutant_exists() -> None:
    """A line of the list of argued mutants that no longer fits the code is deleted."""
    assert argued.stale(modules(), all_mutants()) == []
    assert argued.reasons().keys() <= set(modules())
    assert all(reason for table in argued.reasons().values() for reason in table.values())


def test_the_list_is_checked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A survivor passes if it is argued; lines for killed and for no mutants are reported."""
    mutants = mutants_of("_url")
    first, second, *others = mutants
    killed = [Outcome(mutant, "a test") for mutant in others]
    survived = [Outcome(first, None), Outcome(second, None), *killed]
    table = {"_url": {first.key: "equivalent"}}
    monkeypatch.setattr(argued, "reasons", lambda: table)
    assert judge(["_url"], mutants, survived) == 1
    assert f"survived: _url: {second.key}\n" in capsys.readouterr().out
    table["_url"][second.key] = "equivalent"
    assert judge(["_url"], mutants, survived) == 0
    assert "survived: " not in capsys.readouterr().out
    assert judge(["_url"], mutants, [Outcome(first, "test_x"), *survived[1:]]) == 0
    assert f"argued, but killed by test_x: _url: {first.key}\n" in capsys.readouterr().out
    table["_url"]["a line that was changed"] = "equivalent"
    assert judge(["_url"], mutants, survived) == 1
    assert "argued, but no mutant: _url: a line that was changed\n" in capsys.readouterr().out


def test_at_least_95_percent_are_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many survivors are argued, a run in which there are too many fails."""
    mutants = mutants_of("_url")
    for survivors, status in ((len(mutants) // 20, 0), (len(mutants) // 20 + 1, 1)):
        few = mutants[:survivors]
        table = {"_url": {mutant.key: "equivalent" for mutant in few}}
        monkeypatch.setattr(argued, "reasons", lambda table=table: table)
        outcomes = [Outcome(mutant, None if mutant in few else "a test") for mutant in mutants]
        assert judge(["_url"], mutants, outcomes) == status


def all_mutants() -> list[Mutant]:
    """Return each mutant of each module."""
    return [mutant for module in modules() for mutant in mutants_of(module)]


def command(args: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run the long form's command."""
    require(ON_LINUX, "mutation testing is for Linux")
    return subprocess.run(
        [sys.executable, "-m", "tests.mutation", *args],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_tests_kill_the_mutants_of_a_function() -> None:
    """The command tries all mutants of a function, and is content."""
    done = command(["_url.check_port"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "survived" not in done.stdout


def test_a_test_that_is_missing_lets_mutants_survive() -> None:
    """Without the tests of refused ports, the command says which mutants live, and fails."""
    done = command(["_url.check_port", "--without", "refuses"])
    assert done.returncode == 1, done.stdout + done.stderr
    assert "survived: _url: check_port | if not 1 <= port <= 65535:" in done.stdout
    assert "python -m tests.mutation --show _url.check_port." in done.stdout


def test_a_mutant_is_shown_and_replayed() -> None:
    """The command prints the change and what the tests say of it."""
    done = command(["--show", "_url.check_port.1"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "-    if not 1 <= port <= 65535:" in done.stdout
    assert "FAILED tests/protocol/test_url.py" in done.stdout
