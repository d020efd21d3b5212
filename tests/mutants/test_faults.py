import pytest

from tests.mutants.fault import Fault
from tests.mutants.faults import FAULTS


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.path}: {fault.text}")
def test_a_fault_can_be_planted(fault: Fault) -> None:
    assert not fault.problem()


def test_there_are_many_in_every_package() -> None:
    assert len(FAULTS) >= 90
