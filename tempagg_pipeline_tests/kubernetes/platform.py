"""Dagster as a deployment has it: history in PostgreSQL, files in Azurite, queue in Redis, and every run a pod.

The run launcher's configuration is the one in ``deploy/values.yaml``. The code server, the daemon and the webserver run
on this machine, where a test can look into them; what they start is in the cluster.
"""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
import yaml
from dagster_graphql import DagsterGraphQLClient

from tempagg_pipeline.core.object_store import ObjectStore, open_store
from tempagg_pipeline.core.settings import StoreSettings
from tempagg_pipeline.orchestration.asset_keys import HOURLY, RAW
from tempagg_pipeline.orchestration.fan_out import FAN_OUT_JOB
from tempagg_pipeline.orchestration.partitions import PARTITIONS_NAME
from tempagg_pipeline_tests.kubernetes.cluster import Cluster
from tempagg_pipeline_tests.kubernetes.image import ROOT
from tempagg_pipeline_tests.servers.azurite import Azurite
from tempagg_pipeline_tests.servers.postgres import PASSWORD, USER, Postgres
from tempagg_pipeline_tests.servers.processes import accepts_connections, free_port, running, wait_until
from tempagg_pipeline_tests.servers.redis import RedisServer, redis_server

START_TIMEOUT_SECONDS = 40
CANCEL_TIMEOUT_SECONDS = 10
MAX_CONCURRENT_RUNS = 3
_QUEUE = "temperature_job"
_RUN_LIMIT_SECONDS = 120
_LOCATION = "tempagg"
_BIN = ROOT / ".venv" / "bin"


@dataclass(frozen=True)
class Platform:
    """A running deployment."""

    cluster: Cluster
    namespace: str
    instance: dg.DagsterInstance
    store: ObjectStore
    redis: RedisServer
    azurite_port: int
    client: DagsterGraphQLClient

    def upload(self, location: str, days: int = 1) -> None:
        """Put a raw file into the container."""
        self.store.replace(f"{location}.csv", [_raw_csv(days)])

    def push(self, *locations: str) -> None:
        """Put file names on the queue, as any producer does."""
        with self.redis.client() as client:
            client.rpush(_QUEUE, *(f"{location}.csv" for location in locations))

    def materialize(self, location: str, **tags: Any) -> str:
        """Ask for a run of a location's partition, as the UI does; its id."""
        self.instance.add_dynamic_partitions(PARTITIONS_NAME, [location])
        return self.client.submit_job_execution(
            "__ASSET_JOB",
            repository_location_name=_LOCATION,
            asset_selection=[RAW, HOURLY],
            tags={"dagster/partition": location, **tags},
        )

    def is_done(self, location: str) -> bool:
        """Whether the location's hourly file is there."""
        return self.store.find(f"{location}_aggregated.csv") is not None

    def runs(self, *statuses: dg.DagsterRunStatus) -> list[dg.DagsterRun]:
        """Runs, the newest first; all, or those of these statuses."""
        return list(self.instance.get_runs(dg.RunsFilter(statuses=list(statuses))))

    def fan_out_run(self, location: str) -> dg.DagsterRun | None:
        """The newest run that was given the location's file."""
        runs = self.instance.get_runs(
            dg.RunsFilter(job_name=FAN_OUT_JOB, tags={"tempagg/first_file": f"{location}.csv"})
        )
        return next(iter(runs), None)

    def status(self, run_id: str) -> dg.DagsterRunStatus:
        """Status of a run."""
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run.status

    def await_status(self, run_id: str, status: dg.DagsterRunStatus) -> None:
        """Wait until a run has a status; fails with the run's history when it ends with another."""

        def has_status() -> bool:
            run = self.instance.get_run_by_id(run_id)
            assert run is not None
            if run.is_finished and run.status != status:
                pytest.fail(f"run {run_id} ended as {run.status}:\n{self.messages(run_id)}")
            return run.status == status

        wait_until(has_status, f"run {run_id} to be {status}", _RUN_LIMIT_SECONDS)

    def await_true(self, is_true: Any, what: str) -> None:
        """Wait as long as runs may take."""
        wait_until(is_true, what, _RUN_LIMIT_SECONDS)

    def job(self, run_id: str) -> dict | None:
        """A run's Job, as JSON has it."""
        return next(iter(self.cluster.get("jobs", self.namespace, f"dagster/run-id={run_id}")), None)

    def pod(self, run_id: str) -> str:
        """Name of a run's pod."""
        (pod,) = self.cluster.get("pods", self.namespace, f"dagster/run-id={run_id}")
        return pod["metadata"]["name"]

    def messages(self, run_id: str) -> str:
        """All that a run's history says."""
        return "\n".join(entry.message for entry in self.instance.all_logs(run_id))


def launcher_values() -> dict:
    """Configuration of the run launcher in ``deploy/values.yaml``, with the launcher's own names for it."""
    values = yaml.safe_load((ROOT / "deploy" / "values.yaml").read_text())
    config = _snake_case(values["runLauncher"]["config"]["k8sRunLauncher"])
    config["run_k8s_config"] = _snake_case(config["run_k8s_config"])
    for references in ("env_config_maps", "env_secrets"):
        config[references] = [reference["name"] for reference in config[references]]
    return config


@contextmanager
def platform(
    cluster: Cluster, namespace: str, azurite: Azurite, postgres: Postgres, directory: Path
) -> Iterator[Platform]:
    """A deployment in a namespace; ended with the context."""
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(directory / "redis"))
        database, container = f"dagster-{uuid4().hex[:8]}", f"platform-{uuid4().hex[:8]}"
        postgres.create_database(database)
        azurite.create_container(container)
        here = {
            **azurite.env,
            **redis.env,
            "TEMPAGG_CONTAINER": container,
            "TEMPAGG_QUEUE": _QUEUE,
            "TEMPAGG_PARALLELISM": str(2 * MAX_CONCURRENT_RUNS),
            "TEMPAGG_FILES_PER_RUN_MAX": "1",
            "TEMPAGG_SENSOR_INTERVAL_SECONDS": "1",
            "TEMPAGG_BACKOFF_SECONDS": "1",
            "PLATFORM_POSTGRES_HOST": "127.0.0.1",
            "PLATFORM_POSTGRES_PASSWORD": PASSWORD,
        }
        for port in (azurite.port, redis.port, postgres.port):
            cluster.publish(port)
        there = {name: value.replace("127.0.0.1", cluster.host_address) for name, value in here.items()}
        _configure_pods(cluster, namespace, there)

        home = directory / "dagster_home"
        home.mkdir()
        (home / "dagster.yaml").write_text(json.dumps(_instance(cluster, namespace, postgres.port, database)))
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in {**here, "DAGSTER_HOME": str(home)}.items():
            environment.setenv(name, value)
        webserver = _start_dagster(stack, home, cluster.image)
        yield Platform(
            cluster,
            namespace,
            stack.enter_context(dg.DagsterInstance.from_config(str(home))),
            open_store(StoreSettings()),  # pyright: ignore[reportCallIssue], read from the environment
            redis,
            azurite.port,
            DagsterGraphQLClient("127.0.0.1", port_number=webserver),
        )


def _configure_pods(cluster: Cluster, namespace: str, env: dict[str, str]) -> None:
    """What the manifests of a deployment bring, with this one's addresses."""
    secrets = {name: env.pop(name) for name in ("AZURE_STORAGE_ACCESS_KEY", "REDIS_URL", "PLATFORM_POSTGRES_PASSWORD")}
    named = {"tempagg-account": {}, "tempagg-settings": env, "kubeconfig": {"kubeconfig": _UNUSED_KUBECONFIG}}
    manifests: list[dict] = [_object("ConfigMap", name, data=data) for name, data in named.items()]
    manifests.append(_object("Secret", "tempagg-redis", stringData=secrets))
    manifests.append(_object("ServiceAccount", "tempagg-run"))
    for manifest in manifests:
        cluster.apply(manifest, namespace)


# A run pod loads the launcher, and with it a kubeconfig, when it is terminated; it does not call the cluster.
_UNUSED_KUBECONFIG = """
{apiVersion: v1, kind: Config, current-context: none, users: [{name: none, user: {}}],
 clusters: [{name: none, cluster: {server: "https://127.0.0.1:1"}}],
 contexts: [{name: none, context: {cluster: none, user: none}}]}
"""


def _object(kind: str, name: str, **content: Any) -> dict:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **content}


def _instance(cluster: Cluster, namespace: str, port: int, database: str) -> dict:
    """A ``dagster.yaml`` like the chart's, but impatient."""
    launcher = launcher_values() | {
        "job_namespace": namespace,
        "service_account_name": "default",
        "instance_config_map": "none",
        "load_incluster_config": False,
        "kubeconfig_file": str(cluster.kubeconfig),
    }
    launcher["volumes"] += [{"name": "kubeconfig", "configMap": {"name": "kubeconfig"}}]
    mount = {"name": "kubeconfig", "mountPath": str(cluster.kubeconfig), "subPath": "kubeconfig", "readOnly": True}
    launcher["volume_mounts"] += [mount]
    launcher["run_k8s_config"]["job_spec_config"]["ttlSecondsAfterFinished"] = 5
    return {
        "telemetry": {"enabled": False},
        "storage": {
            "postgres": {
                "postgres_db": {
                    "hostname": {"env": "PLATFORM_POSTGRES_HOST"},
                    "port": port,
                    "username": USER,
                    "password": {"env": "PLATFORM_POSTGRES_PASSWORD"},
                    "db_name": database,
                }
            }
        },
        "compute_logs": {
            "module": "dagster._core.storage.noop_compute_log_manager",
            "class": "NoOpComputeLogManager",
        },
        "run_launcher": {"module": "dagster_k8s", "class": "K8sRunLauncher", "config": launcher},
        "run_coordinator": {
            "module": "dagster._core.run_coordinator",
            "class": "QueuedRunCoordinator",
            "config": {"dequeue_interval_seconds": 1},
        },
        "concurrency": {"runs": {"max_concurrent_runs": MAX_CONCURRENT_RUNS}},
        "run_monitoring": {
            "enabled": True,
            "poll_interval_seconds": 1,
            "start_timeout_seconds": START_TIMEOUT_SECONDS,
            "cancel_timeout_seconds": CANCEL_TIMEOUT_SECONDS,
        },
    }


def _start_dagster(stack: ExitStack, home: Path, image: str) -> int:
    """Start code server, daemon and webserver; the webserver's port."""
    code, webserver = free_port(), free_port()
    workspace = home / "workspace.yaml"
    server = {"host": "127.0.0.1", "port": code, "location_name": _LOCATION}
    workspace.write_text(json.dumps({"load_from": [{"grpc_server": server}]}))
    code_server = [
        *(_BIN / "dagster", "api", "grpc", "--host", "127.0.0.1", "--port", code, "--container-image", image),
        *("--module-name", "tempagg_pipeline.definitions", "--location-name", _LOCATION),
    ]
    ui = [_BIN / "dagster-webserver", "--host", "127.0.0.1", "--port", webserver, "--workspace", workspace]
    daemon = [_BIN / "dagster-daemon", "run", "--workspace", workspace]
    for command, port in ((code_server, code), (ui, webserver), (daemon, None)):
        arguments = [str(argument) for argument in command]
        log = home / f"{Path(arguments[0]).name}-{arguments[1].strip('-')}.log"
        stack.enter_context(running(arguments, log, lambda port=port: port is None or accepts_connections(port)))
    return webserver


def _snake_case(config: dict) -> dict:
    """The chart's camelCase names of one level, as Dagster's configuration has them."""
    return {re.sub("[A-Z]", lambda upper: f"_{upper[0].lower()}", name): value for name, value in config.items()}


def _raw_csv(days: int) -> bytes:
    rows = (
        f"2024-06-{day:02} {hour:02}:{minute:02}:00,{20 + hour / 10:.1f}"
        for day in range(1, days + 1)
        for hour in range(24)
        for minute in range(60)
    )
    return "\n".join(["Datetime,Temperature", *rows, ""]).encode()
