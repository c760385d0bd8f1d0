"""Every kept input of each target, and mutations of them: the fuzzer's work without the fuzzer."""

import os

import pytest

from tests.fuzz import corpus, mutator
from tests.fuzz.properties import Broken
from tests.fuzz.registry import TARGETS, Target
from tests.fuzz.sabotage import SEED, broken_by_environment

_TARGETS = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())


@_TARGETS
def test_the_properties_hold_for_the_kept_inputs(target: Target) -> None:
    """Whatever a fuzzer has found worth keeping, the target's properties hold."""
    inputs = corpus.load(target)
    assert inputs
    for data in inputs:
        target.run(data)


@_TARGETS
@pytest.mark.checklist("LM10", "FR12")
def test_the_properties_hold_for_mutations(target: Target) -> None:
    """The same for a few thousand inputs near them, which are the same each time."""
    for data in mutator.mutations(target, corpus.load(target), target.mutations, SEED):
        try:
            target.run(data)
        except Exception as error:
            raise Broken(f"python -m tests.fuzz {target.name} --replay: {data!r}") from error


@_TARGETS
def test_a_kept_corpus_is_small(target: Target) -> None:
    """The files stay readable: few inputs, each within the target's size, below 100 kB in all."""
    inputs = corpus.load(target)
    assert len(inputs) <= corpus.MOST_INPUTS
    assert corpus.path(target).stat().st_size <= corpus.MOST_BYTES
    assert all(len(data) <= target.max_size for data in inputs)
    assert len(set(inputs)) == len(inputs)


def test_mutations_depend_on_the_seed_alone() -> None:
    """A finding comes back with its seed."""
    target = TARGETS["frames"]
    inputs = corpus.load(target)
    twice = [list(mutator.mutations(target, inputs, 50, seed)) for seed in (1, 1, 2)]
    assert twice[0] == twice[1] != twice[2]


def test_nothing_is_broken_unless_the_environment_says_so() -> None:
    """The bugs are put in for `--sabotage` only."""
    assert not [name for name in os.environ if name.startswith("TRIO_WS_FUZZ")]
    with broken_by_environment() as broken:
        assert broken is None
