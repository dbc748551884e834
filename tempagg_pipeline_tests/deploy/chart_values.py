"""Our values for the Dagster chart, merged by Helm, and the part of `dagster.yaml` that they become.

The chart itself is no part of this project and can't be had offline. What is here of it was read in its source
(dagster-io/dagster, helm/dagster, schema and templates as of 1.12 and 1.13): its keys where it allows no others, and
how its template turns camelCase values into Dagster's snake_case settings. deploy/check-chart.sh renders the real one.
"""

import itertools
import re
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from tempagg_pipeline_tests.deploy.scripts import ROOT, plan
from tempagg_pipeline_tests.kubernetes.parts import helm

_POD = {
    "image", "env", "envConfigMaps", "envSecrets", "deploymentLabels", "labels", "nodeSelector", "affinity",
    "tolerations", "podSecurityContext", "securityContext", "checkDbReadyInitContainer", "resources", "readinessProbe",
    "livenessProbe", "startupProbe", "annotations", "schedulerName", "volumeMounts", "volumes",
    "initContainerResources", "extraContainers", "extraPrependedInitContainers", "logFormat",
}  # fmt: skip
KEYS = {
    "dagsterWebserver": _POD | {
        "replicaCount", "nameOverride", "pathPrefix", "service", "workspace", "enableReadOnly", "dbStatementTimeout",
        "dbPoolRecycle", "dbPoolMaxOverflow", "logLevel",
    },
    "dagsterDaemon": _POD | {
        "enabled", "runCoordinator", "heartbeatTolerance", "runMonitoring", "runRetries", "sensors", "schedules",
        "backfills",
    },
    "dagsterDaemon.runCoordinator": {"enabled", "type", "config"},
    "dagsterDaemon.runCoordinator.config.queuedRunCoordinator": {
        "maxConcurrentRuns", "tagConcurrencyLimits", "dequeueIntervalSeconds", "dequeueNumWorkers",
        "dequeueUseThreads", "blockOpConcurrencyLimitedRuns",
    },
    "dagsterDaemon.runRetries": {"enabled", "maxRetries", "retryOnAssetOrOpFailure"},
    "runLauncher": {"type", "config"},
    "runLauncher.config.k8sRunLauncher": {
        "image", "imagePullPolicy", "jobNamespace", "loadInclusterConfig", "kubeconfigFile", "envConfigMaps",
        "envSecrets", "envVars", "volumeMounts", "volumes", "labels", "failPodOnRunFailure", "resources",
        "schedulerName", "securityContext", "runK8sConfig",
    },
    "runLauncher.config.k8sRunLauncher.runK8sConfig": {
        "containerConfig", "podSpecConfig", "podTemplateSpecMetadata", "jobSpecConfig", "jobMetadata",
    },
    "computeLogManager": {"type", "config"},
    "computeLogManager.config.azureBlobComputeLogManager": {
        "storageAccount", "container", "secretCredential", "defaultAzureCredential", "accessKeyOrSasToken", "localDir",
        "prefix", "uploadInterval", "showUrlOnly",
    },
    "retention": {"enabled", "sensor", "schedule", "autoMaterialize"},
    "": {
        "dagsterWebserver", "dagster-user-deployments", "postgresql", "generatePostgresqlPasswordSecret",
        "generateCeleryConfigSecret", "rabbitmq", "redis", "flower", "ingress", "imagePullSecrets",
        "computeLogManager", "scheduler", "runLauncher", "pythonLogs", "dagsterDaemon", "busybox", "migrate",
        "telemetry", "serviceAccount", "global", "retention", "additionalInstanceConfig", "concurrency",
        "x-shared",  # ours, for YAML anchors; the chart lets it be
    },
}  # fmt: skip
"""Keys that the chart knows, by section; it refuses any other."""


def values(**names: str) -> dict[str, Any]:
    """What the chart is given by ``deploy/azure.sh install``, put together by Helm itself; names as in azure.env."""
    (command,) = (line for line in plan("install", **names) if line[0] == "helm")
    options = [
        argument
        for option, value in itertools.pairwise(command)
        if option in ("--values", "--set", "--set-string")
        for argument in (option, value)
    ]
    with TemporaryDirectory() as chart:
        # A chart that shows what it is given.
        (Path(chart) / "Chart.yaml").write_text("{apiVersion: v2, name: shown, version: 0.0.0}")
        (Path(chart) / "templates").mkdir()
        (Path(chart) / "templates" / "shown.yaml").write_text("{{ .Values | toYaml }}")
        done = subprocess.run(
            [helm(), "template", "dagster", chart, *options], capture_output=True, text=True, check=True, cwd=ROOT
        )
    return yaml.safe_load(done.stdout)


def section(of: dict[str, Any], path: str) -> dict[str, Any]:
    """The part below a dotted path; the whole for an empty one."""
    for key in filter(None, path.split(".")):
        of = of[key]
    return of


def dagster_yaml(of: dict[str, Any]) -> dict[str, Any]:
    """What the chart writes into `dagster.yaml` for these values, PostgreSQL left out."""
    daemon, launcher = of["dagsterDaemon"], of["runLauncher"]["config"]["k8sRunLauncher"]
    coordinator = daemon["runCoordinator"]["config"]["queuedRunCoordinator"]
    logs = of["computeLogManager"]["config"]["azureBlobComputeLogManager"]
    retention = {key: value for key, value in of["retention"].items() if key != "enabled"}
    return {
        "run_launcher": {"module": "dagster_k8s", "class": "K8sRunLauncher", "config": _launcher(of, launcher)},
        "run_coordinator": {
            "module": "dagster.core.run_coordinator",
            "class": "QueuedRunCoordinator",
            "config": _snake(coordinator),
        },
        "compute_logs": {
            "module": "dagster_azure.blob.compute_log_manager",
            "class": "AzureBlobComputeLogManager",
            "config": _snake(logs),
        },
        "run_monitoring": _snake(daemon["runMonitoring"]),
        "run_retries": _snake(daemon["runRetries"]),
        "sensors": _snake(daemon["sensors"]),
        "schedules": _snake(daemon["schedules"]),
        "telemetry": of["telemetry"],
        "retention": _snake(retention),
    }


def _launcher(of: dict[str, Any], launcher: dict[str, Any]) -> dict[str, Any]:
    # The chart passes what Kubernetes understands on as it is, and names alone of config maps and secrets.
    passed_on = ("volumes", "volumeMounts", "labels", "resources", "securityContext", "envVars")
    return {
        "load_incluster_config": launcher["loadInclusterConfig"],
        "job_namespace": "tempagg",
        "image_pull_policy": launcher["imagePullPolicy"],
        "service_account_name": of["serviceAccount"]["name"],
        "dagster_home": of["global"]["dagsterHome"],
        "instance_config_map": "dagster-instance",
        "postgres_password_secret": of["global"]["postgresqlSecretName"],
        "env_config_maps": [source["name"] for source in launcher["envConfigMaps"]],
        "env_secrets": [source["name"] for source in launcher["envSecrets"]],
        **{_snake_key(key): launcher[key] for key in passed_on if launcher[key]},
        "run_k8s_config": {_snake_key(key): value for key, value in launcher["runK8sConfig"].items()},
    }


def _snake(value: Any) -> Any:
    if isinstance(value, dict):
        return {_snake_key(key): _snake(entry) for key, entry in value.items()}
    return [_snake(entry) for entry in value] if isinstance(value, list) else value


def _snake_key(key: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower()
