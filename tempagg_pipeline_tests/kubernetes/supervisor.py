"""Runs a node in namespaces of its own and leaves nothing behind: ``python -m … WORK_DIRECTORY IMAGE_ARCHIVE...``.

Its standard input is its lifeline: when that ends, since the tests closed it or were killed, so does the node. It is a
process of its own because the tests' process may be killed at any time.
"""

import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tempagg_pipeline_tests.kubernetes import cgroups

NAMESPACE_HOLDER = "namespace-holder"
"""File in the work directory that names the process whose namespaces are the node's."""


def main(work: Path, images: list[str]) -> None:
    """Run until the lifeline or the node ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    cgroups.remove_orphans()
    cgroups.create(os.getpid())
    holder = subprocess.Popen(
        [
            *("setpriv", "--pdeathsig", "KILL"),
            *("unshare", "--net", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc"),
            *(sys.executable, "-m", "tempagg_pipeline_tests.kubernetes.node"),
            *(str(work), cgroups.name_of(os.getpid()), *images),
        ],
        stdin=subprocess.DEVNULL,
    )
    (work / NAMESPACE_HOLDER).write_text(str(holder.pid))
    try:
        select.select([sys.stdin, os.pidfd_open(holder.pid)], [], [])
        _end(holder)
    finally:
        cgroups.remove(os.getpid())
        shutil.rmtree(work, ignore_errors=True)


def _end(holder: subprocess.Popen[bytes]) -> None:
    """Kill the node's first process: the kernel then ends all others in its process namespace before it is gone."""
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children")
    if holder.poll() is None and children.exists():
        for child in children.read_text().split():
            os.kill(int(child), signal.SIGKILL)
    holder.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
