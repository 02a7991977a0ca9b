import itertools
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))  # the lab is theirs and ours

from lab.site import Site

_NUMBERS = itertools.count()


@pytest.fixture
def site(stack):
    """Give a pipeline of the test's own on the shared stack; its processes end with the test."""
    place = Site(stack, f"crash{next(_NUMBERS)}")
    yield place
    place.models.set_latency(None)
    place.close()
