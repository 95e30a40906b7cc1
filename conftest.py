"""What every run of the tests shares: one thread per process, fixed seeds, and how much is tried.

`make test` is repeatable. Hypothesis draws the same examples each time (profile ``ci``), and every test starts from the
same seeds, alone or among others. `make test-all` is thorough (profile ``thorough``): new random examples each time, many
more of them, and the tests marked `slow`. See `tests.support.thoroughness`.
"""

import os
import random
import re
import sys

import pytest
from hypothesis import HealthCheck, settings

# pytest-xdist runs one process per core. Threads of torch and BLAS on top would fight for the same cores. This stands
# above every import of torch, and reaches the programs that tests start.
for _library in ("OMP", "MKL", "OPENBLAS", "NUMBA"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")
# Else every program that a test starts compiles the whole package anew, which takes longer than what it does.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Neither has a clock in it: on a busy machine a slow example is no failure.
_common = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", _common, derandomize=True, database=None, max_examples=20)
# Stated, since Hypothesis has other defaults where it sees that it runs in CI.
settings.register_profile("thorough", _common, derandomize=False, max_examples=200)
settings.load_profile("ci")  # `--hypothesis-profile=thorough`, which is read later, wins

_COMPILES_FLASH = re.compile(
    r"simulation/(flash|swapping)/|mqsim|validation/(drives|flash_estimates)|::test_flash"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the flash device: the process that compiles it (Note [Compiled]) then runs all the tests of it.

    pytest-xdist hands out neighbours together, and other processes take work from the end.
    """
    items.sort(key=lambda item: _COMPILES_FLASH.search(item.nodeid) is None)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Seed every generator before each test and its fixtures, so that no order of tests changes a number."""
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)
