"""The Kubernetes Job that this pipeline succeeds, faithfully in today's APIs: what each of its pods ran.

The work queue is ``rediswq.py`` of the Kubernetes documentation ("Fine Parallel Processing Using a Work Queue"); the
work is azure-storage-blob and pandas. Its faults are kept: leases that expire are never taken back, outputs lose their
hours.
"""

import hashlib
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from typing import Any

QUEUE = "original_job"
PROCESSING = f"{QUEUE}:processing"
CONTAINER = "temperaturefiles"
PODS = 3

_LEASE_SECONDS = 600
_WAIT_SECONDS = 2


class RedisWQ:
    """Work queue of the documentation's example: a list, a list of what is being processed, a key for each lease."""

    def __init__(self, url: str) -> None:
        import redis

        self._db: Any = redis.Redis.from_url(url)
        self._session = str(uuid.uuid4())

    def empty(self) -> bool:
        """Whether nothing waits and nothing is being processed."""
        return self._db.llen(QUEUE) == 0 and self._db.llen(PROCESSING) == 0

    def lease(self) -> bytes | None:
        """Take an item, waiting for one for a while."""
        item = self._db.brpoplpush(QUEUE, PROCESSING, timeout=_WAIT_SECONDS)
        if item:
            self._db.set(_lease_key(item), self._session, ex=_LEASE_SECONDS)  # SETEX, which the client deprecates
        return item

    def complete(self, item: bytes) -> None:
        """The item is done."""
        self._db.lrem(PROCESSING, 0, item)  # pyright: ignore[reportArgumentType]
        self._db.delete(_lease_key(item))


def _lease_key(item: bytes) -> str:
    return f"{QUEUE}:leased_by_session:{hashlib.sha224(item).hexdigest()}"


def work() -> None:
    """One pod: aggregate file after file until the queue is empty."""
    import pandas as pd
    from azure.storage.blob import BlobServiceClient

    queue = RedisWQ(os.environ["REDIS_URL"])
    service = BlobServiceClient.from_connection_string(os.environ["AZURE_STORAGE_CONNECTION_STRING"])
    container = service.get_container_client(CONTAINER)
    while not queue.empty():
        item = queue.lease()
        if item is None:
            continue
        name = item.decode()
        frame = pd.read_csv(BytesIO(container.get_blob_client(name).download_blob().readall()))
        frame["Datetime"] = pd.to_datetime(frame["Datetime"])
        frame = frame.set_index("Datetime")
        hourly = frame["Temperature"].resample("h").agg(["mean", "std", "min", "max"])
        output = container.get_blob_client(name.replace(".csv", "_aggregated.csv"))
        output.upload_blob(hourly.to_csv(index=False), overwrite=True)
        queue.complete(item)


@contextmanager
def pods(env: Mapping[str, str]) -> Iterator[None]:
    """Three of them at work at once, each a process started now."""
    command = [sys.executable, "-m", "benchmarks.original_job"]
    processes = [subprocess.Popen(command, env={**os.environ, **env}) for _ in range(PODS)]
    try:
        yield
        for process in processes:
            if process.wait():
                raise RuntimeError(f"a pod of the original job ended with {process.returncode}")
    finally:
        for process in processes:
            process.kill()
            process.wait()


if __name__ == "__main__":
    work()
