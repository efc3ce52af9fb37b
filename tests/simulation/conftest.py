"""One simulated trial for all tests that only read it."""

import pytest

from clinical_lakehouse.simulation import TrialPlan
from tests.simulation.written import Written, write


@pytest.fixture(scope="session")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """400 subjects, 6 sites, 12 months."""
    return write(tmp_path_factory.mktemp("trial"), TrialPlan(patients=400))
