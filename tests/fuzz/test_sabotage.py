"""Bugs put in on purpose: the kept inputs and their mutations find each of them."""

import pytest

from tests.fuzz import sabotage
from tests.fuzz.defects import DEFECTS, Defect


@pytest.mark.parametrize("defect", DEFECTS.values(), ids=lambda defect: defect.name)
def test_a_bug_is_found(defect: Defect) -> None:
    """The target's properties do not hold once the library is broken."""
    assert sabotage.find(defect) is not None
