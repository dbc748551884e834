"""A Kubernetes cluster as tests see it, and how they come by one."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from tempagg_pipeline_tests.kubernetes import cgroups, image, node, parts
from tempagg_pipeline_tests.kubernetes.forwarding import Endpoint, Forwarder
from tempagg_pipeline_tests.kubernetes.supervisor import NAMESPACE_HOLDER
from tempagg_pipeline_tests.servers.processes import wait_until
from tempagg_pipeline_tests.servers.required import require

KUBECONFIG = "KUBECONFIG"
IMAGE = "TEMPAGG_TESTS_IMAGE"
HOST_ADDRESS = "TEMPAGG_TESTS_HOST_ADDRESS"
"""With ``KUBECONFIG``: an image that the cluster has or can pull, and where its pods reach the tests' machine."""

_PROGRAMS = {
    "buildah": "buildah", "containerd": "containerd", "debootstrap": "debootstrap", "etcd": "etcd-server",
    "ip": "iproute2", "iptables": "iptables", "openssl": "openssl", "runc": "runc", "unshare": "util-linux",
}  # fmt: skip
"""What the tests' own cluster needs, with the Debian package that has it."""

_RESTRICTED = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/enforce-version": "latest",
}


@dataclass
class Cluster:
    """A cluster with the project's image in reach.

    Attributes:
        kubeconfig: an administrator's, of use to any client on this machine.
        image: the project's image.
        host_address: address at which pods reach what was published.
    """

    kubeconfig: Path
    image: str
    host_address: str
    namespace_file: Path | None = None
    cgroup: str | None = None
    _published: dict[int, Forwarder] = field(default_factory=dict)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Output of a kubectl command.

        Raises:
            RuntimeError: it failed; carries what it said.
        """
        command = [str(parts.kubectl()), f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"kubectl {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def apply(self, manifest: dict, namespace: str) -> None:
        """Apply one manifest."""
        self.kubectl("apply", "--namespace", namespace, "--filename", "-", stdin=json.dumps(manifest))

    def get(self, kind: str, namespace: str, selector: str = "") -> list[dict]:
        """Objects of a kind, as JSON has them."""
        return json.loads(self.kubectl("get", kind, "-n", namespace, "-l", selector, "-o", "json"))["items"]

    @contextmanager
    def namespace(self, prefix: str = "tests") -> Iterator[str]:
        """A namespace of its own that enforces the Pod Security Standard "restricted"; deleted afterwards."""
        name = f"{prefix}-{uuid4().hex[:8]}"
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": _RESTRICTED}}
        self.kubectl("create", "--filename", "-", stdin=json.dumps(manifest))
        wait_until(
            lambda: bool(self.kubectl("get", "serviceaccount", "default", "-n", name, "--ignore-not-found")),
            f"the default service account of {name}",
        )
        try:
            yield name
        finally:
            self.kubectl("delete", "namespace", name, "--wait=false")

    def publish(self, port: int) -> str:
        """Let pods reach a server on this machine's loopback; ``host:port`` for them."""
        if port not in self._published:
            source = Endpoint(self.host_address, port, self.namespace_file)
            self._published[port] = Forwarder(source, Endpoint("127.0.0.1", port))
        return f"{self.host_address}:{port}"

    @contextmanager
    def held(self, port: int) -> Iterator[None]:
        """While the context is open, a published server does not answer pods."""
        with self._published[port].held():
            yield

    def kill_pod(self, namespace: str, pod: str) -> None:
        """End all processes of a pod with SIGKILL, as the kernel does when memory runs out.

        On a cluster that was given, where no process is in reach, its API does so and removes the pod as well.
        """
        if self.cgroup is None:
            self.kubectl("delete", "pod", pod, "-n", namespace, "--grace-period=0", "--force")
            return
        uid = self.kubectl("get", "pod", pod, "-n", namespace, "-o", "jsonpath={.metadata.uid}")
        for process in cgroups.processes(self.cgroup, f"pod{uid}"):
            os.kill(process, signal.SIGKILL)

    def evict_pod(self, namespace: str, pod: str) -> None:
        """Evict a pod, as draining a node does."""
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
        self.kubectl("create", "--raw", path, "--filename", "-", stdin=json.dumps(eviction))

    @contextmanager
    def unschedulable(self) -> Iterator[None]:
        """While the context is open, no new pod gets a node."""
        nodes = self.kubectl("get", "nodes", "-o", "name").split()
        self.kubectl("cordon", *nodes)
        try:
            yield
        finally:
            self.kubectl("uncordon", *nodes)

    def close(self) -> None:
        """Withdraw what was published."""
        for forwarder in self._published.values():
            forwarder.close()


@contextmanager
def cluster(directory: Path) -> Iterator[Cluster]:
    """The cluster of ``KUBECONFIG``, or one of the tests' own that ends with the context."""
    with _given() if os.environ.get(KUBECONFIG) else _own(directory) as found:
        try:
            yield found
        finally:
            found.close()


@contextmanager
def _given() -> Iterator[Cluster]:
    for name in (IMAGE, HOST_ADDRESS):
        require(bool(os.environ.get(name)), f"{KUBECONFIG} is set, and so must be {name}")
    yield Cluster(Path(os.environ[KUBECONFIG]), os.environ[IMAGE], os.environ[HOST_ADDRESS])


@contextmanager
def _own(directory: Path) -> Iterator[Cluster]:
    require(sys.platform == "linux" and os.geteuid() == 0, "a Kubernetes of the tests' own needs root on Linux")
    require(parts.go() is not None, "a Kubernetes of the tests' own is compiled by Go, which is not installed")
    search = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [package for program, package in _PROGRAMS.items() if not shutil.which(program, path=search)]
    missing += [] if Path("/usr/lib/cni/bridge").exists() else ["containernetworking-plugins"]
    require(not missing, f"Debian packages are missing: {' '.join(missing)}")

    archives = [str(image.pause_archive()), str(image.project_archive())]
    parts.kubectl()
    work = Path(tempfile.mkdtemp(prefix="tempagg-tests-kubernetes-"))
    log = directory / "supervisor.log"
    with log.open("wb") as output:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "tempagg_pipeline_tests.kubernetes.supervisor", str(work), *archives],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=image.ROOT,
            env={**os.environ, "PATH": search},
            start_new_session=True,
        )
    try:
        yield _when_ready(supervisor, work, directory, log)
    finally:
        logs = directory / "logs"
        shutil.copytree(work, logs, ignore=lambda _, names: [name for name in names if not name.endswith(".log")])
        supervisor.communicate()  # closes its standard input, which ends it


def _when_ready(supervisor: subprocess.Popen[bytes], work: Path, directory: Path, log: Path) -> Cluster:
    """Wait until the node takes pods."""

    def holds(file: str) -> bool:
        if supervisor.poll() is not None:
            raise RuntimeError(f"the cluster did not start:\n{log.read_text()[-4000:]}")
        return (work / file).exists()

    wait_until(lambda: holds(node.STARTED), "the control plane to start", limit_seconds=180)
    namespace = Path("/proc", (work / NAMESPACE_HOLDER).read_text(), "ns/net")
    api = Forwarder(Endpoint("127.0.0.1", 0), Endpoint(node.ADDRESS, node.API_PORT, namespace))
    kubeconfig = directory / "kubeconfig"
    kubeconfig.write_text(node.kubeconfig(f"https://127.0.0.1:{api.port}", work))
    found = Cluster(kubeconfig, image.PROJECT_IMAGE, node.ADDRESS, namespace, cgroups.name_of(supervisor.pid))
    found.kubectl("wait", "--for=create", f"node/{node.NODE}", "--timeout=60s")
    found.kubectl("wait", "--for=condition=Ready", f"node/{node.NODE}", "--timeout=60s")
    return found
