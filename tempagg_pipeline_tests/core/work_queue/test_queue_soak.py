"""A short run of the soak; ``benchmarks/queue_soak.py`` runs it at length."""

from pathlib import Path

from benchmarks.queue_soak import soak
from tempagg_pipeline_tests.servers.redis import redis_program


def test_nothing_is_lost_whoever_is_killed(tmp_path: Path) -> None:
    redis_program()
    report = soak(tmp_path, names=60, kills=20, seed=7)
    assert not report.faults, report
    assert report.figures["names"] == 60
    assert report.figures["names with the output of their newest source"] >= 40
