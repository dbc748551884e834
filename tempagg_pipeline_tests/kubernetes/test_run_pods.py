"""Every run a pod: what its Job is, what becomes of it, and that nothing is lost when it dies."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import dagster as dg
import pytest

from tempagg_pipeline.orchestration.asset_keys import HOURLY
from tempagg_pipeline_tests.kubernetes.cluster import Cluster
from tempagg_pipeline_tests.kubernetes.platform import MAX_CONCURRENT_RUNS, Platform, launcher_values, platform
from tempagg_pipeline_tests.servers.azurite import Azurite
from tempagg_pipeline_tests.servers.postgres import Postgres

Status = dg.DagsterRunStatus


@pytest.fixture(scope="module")
def deployed(
    cluster: Cluster, azurite_server: Azurite, postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    with cluster.namespace("runs") as namespace:
        directory = Path(tmp_path_factory.mktemp("platform"))
        with platform(cluster, namespace, azurite_server, postgres_server, directory) as running:
            yield running


@pytest.fixture
def location() -> str:
    """A location that no other test has."""
    return f"station-{uuid4().hex[:8]}"


@pytest.fixture
def hanging(deployed: Platform) -> Iterator[None]:
    """The store does not answer pods, so that runs stay where they are."""
    with deployed.cluster.held(deployed.azurite_port):
        yield


def test_a_partition_runs_as_a_pod_from_raw_file_to_history(deployed: Platform, location: str) -> None:
    deployed.upload(location)

    run_id = deployed.materialize(location)

    deployed.await_status(run_id, Status.SUCCESS)
    assert deployed.is_done(location)
    event = deployed.instance.get_latest_materialization_event(HOURLY)
    assert event is not None
    assert event.run_id == run_id


def test_a_run_pod_is_what_the_deployments_values_say(deployed: Platform, location: str) -> None:
    deployed.upload(location)
    run_id = deployed.materialize(location)
    deployed.await_true(lambda: deployed.job(run_id), "the Job")

    job = deployed.job(run_id)
    assert job is not None
    deployed.await_status(run_id, Status.SUCCESS)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    values = launcher_values()
    pod_values = values["run_k8s_config"]["pod_spec_config"]
    assert container["image"] == deployed.cluster.image
    assert container["resources"] == values["resources"]
    assert container["securityContext"] == values["security_context"]
    assert {source["configMapRef"]["name"] for source in container["envFrom"] if "configMapRef" in source} == set(
        values["env_config_maps"]
    )
    assert {source["secretRef"]["name"] for source in container["envFrom"] if "secretRef" in source} >= set(
        values["env_secrets"]
    )
    assert pod["serviceAccountName"] == pod_values["serviceAccountName"]
    assert pod["securityContext"] == pod_values["securityContext"]
    assert values["labels"].items() <= job["spec"]["template"]["metadata"]["labels"].items()
    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["activeDeadlineSeconds"] == values["run_k8s_config"]["job_spec_config"]["activeDeadlineSeconds"]


def test_no_more_runs_than_allowed_have_a_pod_at_a_time(deployed: Platform, location: str) -> None:
    locations = [f"{location}-{number}" for number in range(MAX_CONCURRENT_RUNS + 2)]
    for name in locations:
        deployed.upload(name)

    with deployed.cluster.held(deployed.azurite_port):
        deployed.push(*locations)
        deployed.await_true(lambda: len(deployed.runs(Status.STARTED)) == MAX_CONCURRENT_RUNS, "as many as allowed")
        deployed.await_true(lambda: len(deployed.runs(Status.QUEUED)) == 2, "the others to wait")
        assert _running_pods(deployed) == MAX_CONCURRENT_RUNS

    deployed.await_true(lambda: all(deployed.is_done(name) for name in locations), "all to be done")


@pytest.mark.parametrize("end", [Cluster.kill_pod, Cluster.evict_pod], ids=["killed", "evicted"])
def test_the_files_of_a_pod_that_dies_are_done_by_another(
    deployed: Platform, location: str, end: Callable[[Cluster, str, str], None]
) -> None:
    deployed.upload(location)
    with deployed.cluster.held(deployed.azurite_port):
        deployed.push(location)
        first = _started(deployed, location)
        end(deployed.cluster, deployed.namespace, deployed.pod(first))
        deployed.await_true(lambda: deployed.status(first) in (Status.FAILURE, Status.CANCELED), "its end to be seen")

    # A pod that has time to end may still write what it had begun: the output alone does not tell who made it.
    deployed.await_true(lambda: _other_run(deployed, location, first) is not None, "another run to get the file")
    second = _other_run(deployed, location, first)
    assert second is not None
    deployed.await_status(second, Status.SUCCESS)
    assert deployed.is_done(location)


def _other_run(deployed: Platform, location: str, first: str) -> str | None:
    run = deployed.fan_out_run(location)
    return run.run_id if run is not None and run.run_id != first else None


def test_the_files_of_a_pod_that_never_got_a_node_are_done_by_another(deployed: Platform, location: str) -> None:
    deployed.upload(location)
    with deployed.cluster.unschedulable():
        deployed.push(location)
        deployed.await_true(lambda: deployed.fan_out_run(location), "a run")
        first = deployed.fan_out_run(location)
        assert first is not None
        deployed.await_status(first.run_id, Status.FAILURE)
        assert "longer than" in deployed.messages(first.run_id)

    deployed.await_true(lambda: deployed.is_done(location), "another run to do the file")
    # The late pod finds its run ended and leaves it at that; then its Job goes as any other.
    deployed.await_true(lambda: deployed.job(first.run_id) is None, "the late Job to go")
    assert deployed.status(first.run_id) == Status.FAILURE
    assert "RUN_START" not in {
        entry.dagster_event.event_type_value
        for entry in deployed.instance.all_logs(first.run_id)
        if entry.dagster_event is not None
    }


def test_a_run_without_an_image_fails_and_its_job_goes(deployed: Platform, location: str) -> None:
    overrides = {
        "container_config": {"image": "localhost/nowhere:1"},
        "job_spec_config": {"active_deadline_seconds": 60},
    }

    run_id = deployed.materialize(location, **{"dagster-k8s/config": overrides})

    deployed.await_status(run_id, Status.FAILURE)
    assert "localhost/nowhere:1" in deployed.messages(run_id)
    deployed.await_true(lambda: deployed.job(run_id) is None, "the Job of the run that never started to go")


def test_terminating_a_run_deletes_its_job(deployed: Platform, location: str, hanging: None) -> None:
    run_id = deployed.materialize(location)
    deployed.await_status(run_id, Status.STARTED)

    deployed.client.terminate_run(run_id)

    deployed.await_true(lambda: deployed.job(run_id) is None, "the Job to be deleted")
    deployed.await_status(run_id, Status.CANCELED)


def test_the_job_of_a_finished_run_goes(deployed: Platform, location: str) -> None:
    deployed.upload(location)
    run_id = deployed.materialize(location)
    deployed.await_status(run_id, Status.SUCCESS)

    deployed.await_true(lambda: deployed.job(run_id) is None, "the Job to go")


def _started(deployed: Platform, location: str) -> str:
    """Id of the run that works on the location's file."""

    def is_started() -> bool:
        run = deployed.fan_out_run(location)
        return run is not None and run.status == Status.STARTED

    deployed.await_true(is_started, "a run to start")
    run = deployed.fan_out_run(location)
    assert run is not None
    return run.run_id


def _running_pods(deployed: Platform) -> int:
    pods = deployed.cluster.get("pods", deployed.namespace, "app.kubernetes.io/component=run_worker")
    return sum(pod["status"].get("phase") == "Running" for pod in pods)
