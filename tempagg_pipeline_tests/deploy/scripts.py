"""Runs deploy/azure.sh in plan mode."""

import os
import shlex
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "azure.sh"
STEPS = [
    "group", "storage", "upload", "registry", "build", "cluster", "identities", "database", "namespace", "install",
    "smoke", "enqueue", "watch", "ui", "spot", "teardown",
]  # fmt: skip


def plan(*steps: str, **names: str) -> list[list[str]]:
    """The command lines of a plan, in order, each split into its arguments. Names replace those of azure.env."""
    # A PATH without az, kubectl and helm: a plan runs none of them.
    done = subprocess.run(
        [SCRIPT, "--plan", *steps],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", "HOME": os.devnull, **names},
    )
    lines = (done.stderr + done.stdout).splitlines()
    return [shlex.split(line) for line in lines if line.startswith(("az ", "kubectl ", "helm "))]
