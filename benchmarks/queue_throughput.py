"""The leased queue beside the original's one-by-one protocol: items claimed, begun and completed each second.

The original is the Kubernetes documentation's rediswq.py, as fine-parallel work queues use it: BRPOPLPUSH and SETEX to
lease an item, LREM and DEL to complete it. It keeps no attempts, and nobody ever takes an expired lease back.
Both run against the same real redis-server on loopback, by turns, one client each.

    python -m benchmarks.queue_throughput
"""

import argparse
import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tempagg_pipeline.core.redis_connection import RedisClient
from tempagg_pipeline.core.settings import QueueSettings
from tempagg_pipeline.core.work_queue import WorkQueue
from tempagg_pipeline_tests.servers.redis import redis_server

ORIGINAL = "original, one by one"
BATCH_SIZES = (500, 100, 1)


def original(client: RedisClient, names: list[str]) -> None:
    """Lease and complete every item with the original's commands."""
    client.rpush("job", *names)
    while (item := client.rpoplpush("job", "job:processing")) is not None:
        assert isinstance(item, bytes)
        lease = "job:leased_by_session:" + hashlib.sha224(item).hexdigest()
        client.setex(lease, 60, "session")
        client.lrem("job:processing", 0, item)  # pyright: ignore[reportArgumentType]
        client.delete(lease)


def leased(client: RedisClient, names: list[str], batch: int, *, start: bool) -> None:
    """Claim, start (which counts attempts; the original has no such thing) and complete every item in batches."""
    queue = WorkQueue(client, QueueSettings.model_validate({}))
    queue.enqueue(names)
    while lease := queue.claim(batch, owner="tick"):
        started = queue.start(lease.token, lease.names, owner="run") if start else lease.names
        assert len(queue.complete(lease.token, started)) == len(started)


def seconds(work: Callable[[], None]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    names = [f"station{number:06}.csv" for number in range(options.items)]
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as directory, redis_server(Path(directory)) as server:
        client = server.client()
        for _ in range(options.rounds):
            times.setdefault(ORIGINAL, []).append(seconds(lambda: original(client, names)))
            for batch in BATCH_SIZES:
                for start, what in ((False, "claim, complete"), (True, "claim, start, complete")):
                    took = seconds(lambda size=batch, start=start: leased(client, names, size, start=start))
                    times.setdefault(f"{what}; batches of {batch}", []).append(took)
            client.flushdb()
        print(f"{options.items:,} items, Redis {client.info('server')['redis_version']}, {options.rounds} rounds\n")
    base = statistics.median(times[ORIGINAL])
    print(f"{'protocol':40}{'median s':>10}{'min s':>8}{'max s':>8}{'items/s':>10}{'ratio':>8}")
    for name, took in times.items():
        median = statistics.median(took)
        print(
            f"{name:40}{median:>10.3f}{min(took):>8.3f}{max(took):>8.3f}{options.items / median:>10,.0f}"
            f"{base / median:>8.1f}"
        )


if __name__ == "__main__":
    main()
