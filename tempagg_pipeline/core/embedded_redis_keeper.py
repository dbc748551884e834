"""The process that runs the embedded Redis server as long as anybody needs it; ``embedded_redis`` starts it.

usage: python -m tempagg_pipeline.core.embedded_redis_keeper DIRECTORY REDIS_SERVER
"""

import ctypes
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from tempagg_pipeline.core.embedded_redis import EmbeddedFiles, answers

_POLL_SECONDS = 0.02
_SOON_SECONDS = 5.0
_SOON_LIMIT = 5
_PR_SET_PDEATHSIG = 1


def main(directory: str, program: str) -> int:
    """Run the server until the last user is gone, or SIGTERM; returns the exit code."""
    files = EmbeddedFiles(Path(directory))
    with files.keeper_lock.open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 1
        return _Keeper(files, program).run()


class _Keeper:
    def __init__(self, files: EmbeddedFiles, program: str) -> None:
        self._files = files
        self._program = program
        self._server: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()

    def run(self) -> int:
        signal.signal(signal.SIGTERM, lambda *_: self._stop())
        threading.Thread(target=self._stop_after_last_user, daemon=True).start()
        ended_soon = 0
        while not self._stopping.is_set() and ended_soon < _SOON_LIMIT:
            began = time.monotonic()
            self._run_server_once()
            ended_soon = ended_soon + 1 if time.monotonic() - began < _SOON_SECONDS else 0
        self._files.endpoint.unlink(missing_ok=True)
        return 0 if self._stopping.is_set() else 1

    def _run_server_once(self) -> None:
        keeper = os.getpid()
        server = subprocess.Popen(
            [self._program, str(self._files.config)],
            stdin=subprocess.DEVNULL,
            preexec_fn=lambda: _end_with_parent(keeper),
        )
        self._server = server
        if self._stopping.is_set():  # it may have been set before there was a server to end
            server.terminate()
        if not self._files.endpoint.exists():
            self._publish_when_ready(server)
        server.wait()

    def _publish_when_ready(self, server: subprocess.Popen[bytes]) -> None:
        match = re.search(r"^port (\d+)$", self._files.config.read_text(), re.MULTILINE)
        port = int(match[1]) if match else 0
        password = self._files.password.read_text()
        while server.poll() is None:
            if answers(port, password):
                part = self._files.endpoint.with_suffix(".part")
                part.write_text(json.dumps({"port": port, "pid": server.pid}))
                part.replace(self._files.endpoint)
                return
            time.sleep(_POLL_SECONDS)

    def _stop_after_last_user(self) -> None:
        with self._files.users_lock.open("ab") as users:
            fcntl.flock(users, fcntl.LOCK_EX)  # comes back when nobody holds it shared any more
            self._stop()
            threading.Event().wait()  # new users wait until this process is gone

    def _stop(self) -> None:
        self._stopping.set()
        if self._server is not None:
            self._server.terminate()


def _end_with_parent(parent: int) -> None:
    """Linux ends the server when its keeper is killed; elsewhere the next user does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # killed before the call
            os._exit(1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
