"""Every az command line of deploy/azure.sh, judged by the real azure-cli."""

import json
import subprocess
from pathlib import Path

from tempagg_pipeline_tests.deploy.scripts import STEPS, plan
from tempagg_pipeline_tests.deploy.tool_environments import tool_python

_AZURE_CLI = "2.91.0"
_VERDICTS = Path(__file__).with_name("az_verdicts.py")
_PARSE_ERROR = 2
_NOT_SIGNED_IN = ("az login", "az account set")


def test_azure_cli_accepts_every_command_line(tmp_path: Path):
    commands = _az_commands()
    refused = {
        " ".join(command): messages
        for command, (code, messages) in zip(commands, _verdicts(commands, tmp_path), strict=True)
        # Accepted by the parser and its validators, it gets as far as asking for a sign-in.
        if code == _PARSE_ERROR or not any(hint in messages for hint in _NOT_SIGNED_IN)
    }
    assert not refused


def test_azure_cli_would_refuse_a_wrong_flag_and_a_wrong_command(tmp_path: Path):
    wrong = [["group", "create", "--name", "n", "--region", "r"], ["aks", "make", "--name", "n"]]
    assert [code for code, _ in _verdicts(wrong, tmp_path)] == [_PARSE_ERROR, _PARSE_ERROR]


def _az_commands() -> list[list[str]]:
    """Every distinct one, whatever choices azure.env leaves."""
    choices = [{}, {"STORAGE_ACCESS": "account-key", "HISTORY": "in-cluster", "QUEUE": "managed"}]
    lines = [line for names in choices for line in plan(*STEPS, **names, CSV_FOLDER="deploy")]
    return [list(command) for command in dict.fromkeys(tuple(line[1:]) for line in lines if line[0] == "az")]


def _verdicts(commands: list[list[str]], home: Path) -> list[tuple[int, str]]:
    python = tool_python("azure-cli", _AZURE_CLI)
    done = subprocess.run(
        [python, _VERDICTS],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        check=True,
        # A home of its own: no sign-in of whoever runs the tests, and telemetry off.
        env={"HOME": str(home), "AZURE_CONFIG_DIR": str(home / "azure"), "AZURE_CORE_COLLECT_TELEMETRY": "false"},
    )
    return json.loads(done.stdout)
