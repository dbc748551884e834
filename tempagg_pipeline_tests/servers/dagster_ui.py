"""Dagster's own web server and daemon on the pipeline's code, started as ``tempagg ui`` starts them."""

import json
import os
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from tempagg_pipeline_tests.servers.processes import free_port, running

_TEMPAGG = Path(sys.executable).with_name("tempagg")
_ANSWER_SECONDS = 60


@dataclass(frozen=True)
class DagsterUi:
    """A running UI with its daemon.

    Attributes:
        url: of its pages.
        home: DAGSTER_HOME, where its history is kept.
        env: settings under which it sees its store.
    """

    url: str
    home: Path
    env: Mapping[str, str]

    def ask(self, query: str, **variables: object) -> Any:
        """Ask by GraphQL, as the UI's pages do; returns the answer's data."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as response:  # noqa: S310
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def is_ready(self) -> bool:
        """Whether the pipeline's code is loaded."""
        found = self.ask("{ workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }")
        return [entry["loadStatus"] for entry in found["workspaceOrError"]["locationEntries"]] == ["LOADED"]


@contextmanager
def dagster_ui(directory: Path) -> Iterator[DagsterUi]:
    """A running UI and daemon that keep everything in a directory; ended with the context."""
    home, port = directory / "dagster_home", free_port()
    home.mkdir(parents=True)
    local = files("tempagg_pipeline.cli").joinpath("dagster.yaml")
    (home / "dagster.yaml").write_text(local.read_text(encoding="utf-8"), encoding="utf-8")
    env = {
        "DAGSTER_HOME": str(home),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "TEMPAGG_LOCAL_ROOT": str(directory / "store"),
        "TEMPAGG_REDIS_DIR": str(directory / "redis"),
    }
    ui = DagsterUi(f"http://127.0.0.1:{port}", home, env)
    command = [str(_TEMPAGG), "ui", "--port", str(port)]
    with running(command, directory / "dagster.log", ui.is_ready, env=env, cwd=Path(os.curdir)):
        yield ui
