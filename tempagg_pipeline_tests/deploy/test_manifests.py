"""The plain manifests: valid for Kubernetes, strictly, and safe."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tempagg_pipeline_tests.deploy.pod_security import violations
from tempagg_pipeline_tests.deploy.scripts import ROOT
from tempagg_pipeline_tests.deploy.tool_environments import tool_python
from tempagg_pipeline_tests.kubernetes.parts import kubectl

_KUBERNETES = "1.34"
_CHECKOV = "3.3.30"
_DEPLOY = ROOT / "deploy"
_FILES = sorted(
    path
    for folder in ("manifests", "overlays")
    for path in (_DEPLOY / folder).rglob("*.yaml")
    if path.name != "kustomization.yaml"
)


def _objects(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def _validate(path: Path) -> None:
    command = [Path(sys.executable).with_name("kubernetes-validate"), "-k", _KUBERNETES, "--strict", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


_ALL = [manifest for path in _FILES for manifest in _objects(path)]
_WORKLOADS = [manifest for manifest in _ALL if "template" in manifest.get("spec", {})]


@pytest.mark.parametrize("folder", sorted(path.parent for path in _DEPLOY.rglob("kustomization.yaml")))
def test_kustomizations_build_valid_manifests(folder: Path, tmp_path: Path):
    built = tmp_path / "built.yaml"
    built.write_bytes(subprocess.run([kubectl(), "kustomize", folder], capture_output=True, check=True).stdout)
    _validate(built)


def test_managed_redis_leaves_no_redis_in_the_cluster():
    folder = _DEPLOY / "overlays" / "managed-redis"
    built = subprocess.run([kubectl(), "kustomize", folder], capture_output=True, check=True).stdout
    names = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in yaml.safe_load_all(built)}
    assert not names & {("StatefulSet", "redis"), ("Service", "redis"), ("NetworkPolicy", "queue-is-used")}


def test_every_manifest_is_part_of_a_kustomization():
    for path in _FILES:
        assert path.name in yaml.safe_load((path.parent / "kustomization.yaml").read_text())["resources"]


@pytest.mark.parametrize("workload", _WORKLOADS, ids=lambda workload: workload["metadata"]["name"])
def test_pods_meet_the_restricted_standard(workload: dict[str, Any]):
    assert list(violations(workload["spec"]["template"]["spec"])) == []


def test_nothing_is_reachable_from_outside_but_by_the_ingress():
    services = [manifest["spec"]["type"] for manifest in _ALL if manifest["kind"] == "Service"]
    assert set(services) == {"ClusterIP"}


def test_no_secret_is_written_down():
    assert not [manifest for manifest in _ALL if manifest["kind"] == "Secret"]
    assert not [path for path in _DEPLOY.rglob("*") if path.is_file() and re.search(r"AccountKey=\w", path.read_text())]


# A call that is given directories looks at no single file.
@pytest.mark.parametrize("places", [["--directory", "deploy", "--directory", ".github"], ["--file", "Dockerfile"]])
def test_checkov_finds_nothing_that_is_not_waived_with_a_reason(places: list[str]):
    checkov = [tool_python("checkov", _CHECKOV), "-m", "checkov.main", "--skip-download", "--quiet", "--compact"]
    frameworks = ["--framework", "kubernetes", "dockerfile", "github_actions"]
    done = subprocess.run([*checkov, *frameworks, *places], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
