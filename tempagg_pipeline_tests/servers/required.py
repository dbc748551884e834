"""Real parts that a machine may lack: the tests that need one are skipped loudly, or fail where all are required."""

import os

import pytest

REQUIRE_ALL = "TEMPAGG_TESTS_REQUIRE_ALL"


def require(present: bool, reason: str) -> None:
    """Go on when the part is present; else skip with the reason, or fail when ``TEMPAGG_TESTS_REQUIRE_ALL`` is set."""
    if present:
        return
    if os.environ.get(REQUIRE_ALL):
        pytest.fail(f"a part that all tests are required to have is missing: {reason}")
    pytest.skip(reason)
