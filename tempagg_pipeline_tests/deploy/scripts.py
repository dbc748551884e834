"""Runs deploy/azure.sh where it can do no harm."""

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
    done = run("--plan", *steps, **names)
    done.check_returncode()
    lines = (done.stderr + done.stdout).splitlines()
    return [shlex.split(line) for line in lines if line.startswith(("az ", "kubectl ", "helm "))]


def run(*arguments: str, answer: str = "", **names: str) -> subprocess.CompletedProcess[str]:
    """Run the script where there is no sign-in to Azure and no cluster, whoever runs the tests."""
    env = {"PATH": os.defpath, "HOME": os.devnull, "AZURE_ENV": os.devnull, **names}
    return subprocess.run(
        [SCRIPT, *arguments], input=answer, capture_output=True, text=True, check=False, env=env, timeout=60
    )
