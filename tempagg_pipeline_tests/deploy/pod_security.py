"""What the Pod Security Standard "restricted" asks of a pod, and what we ask beyond it."""

from collections.abc import Iterator
from typing import Any


def violations(pod_spec: dict[str, Any]) -> Iterator[str]:
    """One sentence for each thing that is missing; keys as in a manifest."""
    pod = pod_spec.get("securityContext", {})
    if not pod.get("runAsNonRoot"):
        yield "runAsNonRoot is not set"
    if not pod.get("runAsUser"):
        yield "runAsUser is not a number above 0"
    if pod.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "the seccomp profile is not RuntimeDefault"
    for host in ("hostNetwork", "hostPID", "hostIPC"):
        if pod_spec.get(host):
            yield f"{host} is on"
    for volume in pod_spec.get("volumes", []):
        if "hostPath" in volume:
            yield f"volume {volume['name']} is of the host"
    for container in [*pod_spec["containers"], *pod_spec.get("initContainers", [])]:
        yield from _container_violations(container)


def _container_violations(container: dict[str, Any]) -> Iterator[str]:
    name, context = container["name"], container.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"{name} may gain privileges"
    if context.get("capabilities", {}).get("drop") != ["ALL"]:
        yield f"{name} keeps capabilities"
    if not context.get("readOnlyRootFilesystem"):
        yield f"{name} has a writable root file system"
    for kind in ("requests", "limits"):
        if set(container.get("resources", {}).get(kind, {})) != {"cpu", "memory"}:
            yield f"{name} has no {kind} of cpu and memory"
