"""Our values for the Dagster chart, held against the chart's keys and against Dagster and dagster-k8s themselves."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import kubernetes.client
import pytest
import yaml
from dagster import DagsterInstance, DagsterRun
from dagster_k8s import K8sRunLauncher
from dagster_k8s.job import construct_dagster_k8s_job

from tempagg_pipeline_tests.deploy.chart_values import KEYS, dagster_yaml, section, values
from tempagg_pipeline_tests.deploy.pod_security import violations
from tempagg_pipeline_tests.deploy.scripts import ROOT

_KEYED = {"STORAGE_ACCESS": "account-key", "HISTORY": "in-cluster"}
_CHOICES = [{}, _KEYED, {"RUNS_ON": "spot"}]


@pytest.mark.parametrize("names", _CHOICES)
def test_chart_knows_every_key(names: dict[str, str]):
    of = values(**names)
    unknown = {path: set(section(of, path)) - known for path, known in KEYS.items()}
    assert not {path: keys for path, keys in unknown.items() if keys}


@pytest.mark.parametrize("names", _CHOICES)
def test_nothing_is_left_to_fill_in(names: dict[str, str]):
    assert "FILLED-IN-BY" not in json.dumps(values(**names))


def test_account_key_reaches_every_pod_that_uses_storage():
    of = values(**_KEYED)
    (deployment,) = of["dagster-user-deployments"]["deployments"]
    pods = [of["dagsterWebserver"], of["dagsterDaemon"], deployment, of["runLauncher"]["config"]["k8sRunLauncher"]]
    assert all({"name": "tempagg-storage-key"} in pod["envSecrets"] for pod in pods)


@pytest.mark.parametrize("names", _CHOICES)
def test_dagster_accepts_the_instance(names: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCESS_KEY", "a2V5")
    with _instance(tmp_path, names) as instance:
        assert instance.get_concurrency_config().run_queue_config
        assert instance.run_monitoring_enabled
        assert type(instance.compute_log_manager).__name__ == "AzureBlobComputeLogManager"
        assert isinstance(instance.run_launcher, K8sRunLauncher)


def test_three_runs_at_a_time_as_the_original_had_pods(tmp_path: Path):
    with _instance(tmp_path, {}) as instance:
        queue = instance.get_concurrency_config().run_queue_config
        assert queue is not None
        assert queue.max_concurrent_runs == 3


@pytest.mark.parametrize("names", _CHOICES)
def test_the_job_of_a_run_is_valid_and_meets_the_restricted_standard(names: dict[str, str], tmp_path: Path):
    job = _job(tmp_path, names)
    manifest = tmp_path / "job.yaml"
    manifest.write_text(yaml.safe_dump(job))
    command = [Path(sys.executable).with_name("kubernetes-validate"), "-k", "1.34", "--strict", manifest]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(violations(job["spec"]["template"]["spec"])) == []


def test_run_pods_have_no_rights_in_kubernetes(tmp_path: Path):
    pod = _job(tmp_path, {})["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "tempagg-run"
    assert pod["automountServiceAccountToken"] is False


def test_run_pods_get_the_settings_and_the_queue_password(tmp_path: Path):
    (container,) = _job(tmp_path, {})["spec"]["template"]["spec"]["containers"]
    sources = [next(iter(source.values()))["name"] for source in container["envFrom"]]
    assert sources == ["tempagg-account", "tempagg-settings", "tempagg-redis"]


def test_network_policies_know_the_roles_of_dagsters_pods(tmp_path: Path):
    of = values()
    (deployment,) = of["dagster-user-deployments"]["deployments"]
    labels = [of["dagsterWebserver"]["labels"], of["dagsterDaemon"]["labels"], deployment["labels"]]
    labels.append(_job(tmp_path, {})["spec"]["template"]["metadata"]["labels"])
    assert [label["tempagg/role"] for label in labels] == ["webserver", "daemon", "code", "run"]


def test_jobs_end_and_are_cleaned_up_by_kubernetes_itself(tmp_path: Path):
    spec = _job(tmp_path, {})["spec"]
    assert (spec["activeDeadlineSeconds"], spec["ttlSecondsAfterFinished"], spec["backoffLimit"]) == (7200, 3600, 0)


@pytest.mark.parametrize("names", _CHOICES)
def test_dagsters_own_pods_meet_the_restricted_standard(names: dict[str, str]):
    of = values(**names)
    pods = [of["dagsterWebserver"], of["dagsterDaemon"], *of["dagster-user-deployments"]["deployments"]]
    for pod in pods:
        container = {
            "name": "dagster",
            "securityContext": pod["securityContext"],
            "resources": pod["resources"],
        }
        spec = {"securityContext": pod["podSecurityContext"], "volumes": pod["volumes"], "containers": [container]}
        assert list(violations(spec)) == []


def test_no_password_is_written_down():
    text = (ROOT / "deploy" / "values.yaml").read_text()
    assert "postgresqlPassword" not in text


def _instance(home: Path, names: dict[str, str]) -> DagsterInstance:
    settings = dagster_yaml(values(**names))
    # Any kubeconfig in place of the one in the pod: nothing is sent to it.
    kubeconfig = home / "kubeconfig"
    kubeconfig.write_text(json.dumps(_KUBECONFIG))
    launcher = settings["run_launcher"]["config"]
    launcher |= {"load_incluster_config": False, "kubeconfig_file": str(kubeconfig)}
    (home / "dagster.yaml").write_text(yaml.safe_dump(settings))
    return DagsterInstance.from_config(str(home))


_KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "none",
    "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
    "clusters": [{"name": "none", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "none", "user": {}}],
}


def _job(home: Path, names: dict[str, str]) -> dict[str, Any]:
    """The Job that dagster-k8s makes of a run."""
    with _instance(home, names) as instance:
        launcher = instance.run_launcher
        assert isinstance(launcher, K8sRunLauncher)
        context = launcher.get_container_context_for_run(DagsterRun(job_name="job"))
        job = construct_dagster_k8s_job(
            context.get_k8s_job_config("registry/tempagg-code:tag", launcher),
            ["dagster", "api", "execute_run"],
            "dagster-run-1",
            user_defined_k8s_config=context.run_k8s_config,
        )
    return cast(dict[str, Any], kubernetes.client.ApiClient().sanitize_for_serialization(job))
