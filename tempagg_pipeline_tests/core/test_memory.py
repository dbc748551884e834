"""Reading is a stream: ten times the file takes about the same memory. Bounds are generous; see benchmarks/."""

import subprocess
import sys

import pytest

_AGGREGATE = """
import resource, sys
from itertools import chain, repeat
from tempagg_pipeline.core.aggregation import aggregate
from tempagg_pipeline.core.sample import SampleSpec, sample_csv

header, *week = sample_csv(SampleSpec(seed=1, days=7))
body = b"".join(week)
if sys.argv[2] == "careful":
    body = body.replace(b",", b", ")
weeks = int(sys.argv[1])
aggregation = aggregate(chain([header], repeat(body, weeks)), "a.csv")
assert aggregation.profile.rows == weeks * 7 * 1440
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def _peak_kibibytes(weeks: int, lane: str) -> int:
    """Largest resident set of a process that aggregates a file of the same week so many times over."""
    command = [sys.executable, "-c", _AGGREGATE, str(weeks), lane]
    return int(subprocess.run(command, check=True, capture_output=True, timeout=300).stdout)


@pytest.mark.parametrize(("lane", "weeks"), [("canonical", 50), ("careful", 4)])
def test_memory_does_not_grow_with_the_file(lane: str, weeks: int):
    assert _peak_kibibytes(10 * weeks, lane) < 1.3 * _peak_kibibytes(weeks, lane)
