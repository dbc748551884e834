"""The linters of what is in deploy/: each finding is mended, or waived with a reason in the file."""

import subprocess
import sys
from pathlib import Path

import pytest

from tempagg_pipeline_tests.deploy.scripts import ROOT

_BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        ["shellcheck", "deploy/azure.sh"],
        ["hadolint", "Dockerfile"],
        ["yamllint", "--strict", "deploy", ".github"],
    ],
    ids=lambda command: command[0],
)
def test_linter_finds_nothing(command: list[str]):
    done = subprocess.run([_BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_what_the_dockerfile_copies_reaches_the_build():
    copied = {
        source
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    }
    allowed = {
        line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    assert copied == allowed
