"""A control plane and its one node, in namespaces that ``supervisor.py`` made: the first process there.

Everything lives at its usual path, on file systems that only these namespaces have. When a part ends, all end.
"""

import base64
import os
import secrets
import shutil
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tempagg_pipeline_tests.kubernetes import parts
from tempagg_pipeline_tests.kubernetes.image import PAUSE_IMAGE

NODE = "node1"
STARTED = "started"
"""File in the work directory that appears when every part runs."""
ADDRESS = "10.89.77.1"
API_PORT = 6443

_PODS = "10.89.77.0/24"
_SERVICES = "10.96.0.0/16"
_FIRST_SERVICE = "10.96.0.1"

_READY_LIMIT_SECONDS = 60.0

_ETC = Path("/run/kubernetes")
"""Certificates and configuration."""

# Kernel settings of the whole machine that kubelet would change: it sees these values instead, and leaves them.
_KERNEL_SETTINGS = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1000000,
    "kernel/keys/root_maxbytes": 25000000,
}

_CONTAINERD = f"""
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{_ETC}/cni"
"""

_CNI = f"""
{{"cniVersion": "0.4.0", "name": "bridge", "plugins": [
  {{"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
    "ipam": {{"type": "host-local", "subnet": "{_PODS}", "routes": [{{"dst": "0.0.0.0/0"}}]}}}}]}}
"""

_KUBELET = f"""
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {ADDRESS}
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /CGROUP
failSwapOn: false
failCgroupV1: false
oomScoreAdj: 0
resolvConf: {_ETC}/resolv.conf
authentication: {{anonymous: {{enabled: true}}, webhook: {{enabled: false}}}}
authorization: {{mode: AlwaysAllow}}
evictionHard: {{memory.available: 100Mi}}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
"""

_KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{{name: tests, cluster: {{server: "{server}", certificate-authority-data: {certificate}}}}}]
users: [{{name: admin, user: {{token: {token}}}}}]
contexts: [{{name: tests, context: {{cluster: tests, user: admin}}}}]
current-context: tests
"""


def main(work: Path, cgroup: str, images: list[str]) -> None:
    """Start everything, then wait for the first part to end."""
    _mount()
    _network()
    _identity(work)
    _write_configuration(cgroup)
    started = _start(work, images)
    (work / STARTED).touch()
    while True:
        process, status = os.wait()  # the first process of a namespace also gets the orphans
        if process in started:
            sys.exit(f"{started[process]} ended with {os.waitstatus_to_exitcode(status)}")


def _mount() -> None:
    """File systems of these namespaces alone, in memory, over every place that a part writes to."""
    _run("mount", "--make-rshared", "/")
    for directory in ("/run", "/var/lib", "/var/log"):
        _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", directory)
    (_ETC / "cni").mkdir(parents=True)
    for name, value in _KERNEL_SETTINGS.items():
        shown = _ETC / name.replace("/", ".")
        shown.write_text(f"{value}\n")
        _run("mount", "--bind", str(shown), f"/proc/sys/{name}")


def _network() -> None:
    """A bridge for pods whose address is the node's; no link, route or name server leads out."""
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "link", "add", "cni0", "type", "bridge")
    _run("ip", "address", "add", f"{ADDRESS}/24", "dev", "cni0")
    _run("ip", "link", "set", "cni0", "up")
    _run("ip", "route", "add", _SERVICES, "dev", "cni0")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _identity(work: Path) -> None:
    """One certificate, which is its own authority, and one administrator's token."""
    addresses = ",".join(f"IP:{address}" for address in ("127.0.0.1", ADDRESS, _FIRST_SERVICE))
    names = "DNS:kubernetes.default.svc,DNS:localhost"
    _run(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=kube-apiserver",
        "-addext", f"subjectAltName={addresses},{names}", "-keyout", f"{_ETC}/tls.key", "-out", f"{_ETC}/tls.crt",
    )  # fmt: skip
    token = secrets.token_hex(16)
    (_ETC / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n")
    shutil.copy(_ETC / "tls.crt", work / "ca.crt")
    (work / "token").write_text(token)
    (_ETC / "kubeconfig").write_text(kubeconfig(f"https://{ADDRESS}:{API_PORT}", work))


def kubeconfig(server: str, work: Path) -> str:
    """Content of a kubeconfig for an address of the API server."""
    certificate = base64.b64encode((work / "ca.crt").read_bytes()).decode()
    return _KUBECONFIG.format(server=server, certificate=certificate, token=(work / "token").read_text())


def _write_configuration(cgroup: str) -> None:
    (_ETC / "containerd.toml").write_text(_CONTAINERD)
    (_ETC / "cni" / "10-bridge.conflist").write_text(_CNI)
    (_ETC / "kubelet.yaml").write_text(_KUBELET.replace("CGROUP", cgroup))
    (_ETC / "resolv.conf").touch()


def _start(work: Path, images: list[str]) -> dict[int, str]:
    """Start the parts in the order in which they need each other; their names by process."""
    started: dict[int, str] = {}
    admin = f"--kubeconfig={_ETC}/kubeconfig"

    def start(name: str, *arguments: str) -> None:
        program = [str(parts.hyperkube()), name] if name.startswith("kube") else [name]
        with (work / f"{name}.log").open("wb") as log:
            process = subprocess.Popen([*program, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        started[process.pid] = name

    start("containerd", "--config", f"{_ETC}/containerd.toml")
    start("etcd", "--data-dir=/var/lib/etcd", "--unsafe-no-fsync")
    start(
        "kube-apiserver",
        "--etcd-servers=http://127.0.0.1:2379",
        f"--bind-address={ADDRESS}",
        f"--advertise-address={ADDRESS}",
        f"--secure-port={API_PORT}",
        f"--tls-cert-file={_ETC}/tls.crt",
        f"--tls-private-key-file={_ETC}/tls.key",
        f"--token-auth-file={_ETC}/tokens.csv",
        f"--service-account-key-file={_ETC}/tls.key",
        f"--service-account-signing-key-file={_ETC}/tls.key",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-cluster-ip-range={_SERVICES}",
        "--authorization-mode=Node,RBAC",
        "--kubelet-preferred-address-types=InternalIP",
    )
    _await(Path("/run/containerd/containerd.sock").exists, "containerd")
    for archive in images:
        _run("ctr", "--namespace", "k8s.io", "images", "import", archive)
    _await(_api_is_ready, "the API server")
    start(
        "kube-controller-manager",
        admin,
        f"--service-account-private-key-file={_ETC}/tls.key",
        f"--root-ca-file={_ETC}/tls.crt",
        "--use-service-account-credentials",
        "--leader-elect=false",
    )
    start("kube-scheduler", admin, "--leader-elect=false")
    start("kubelet", admin, f"--config={_ETC}/kubelet.yaml", f"--hostname-override={NODE}", f"--node-ip={ADDRESS}")
    start(
        "kube-proxy",
        admin,
        f"--cluster-cidr={_PODS}",
        f"--hostname-override={NODE}",
        f"--bind-address={ADDRESS}",
        "--conntrack-max-per-core=0",
    )
    return started


def _api_is_ready() -> bool:
    trust = ssl.create_default_context(cafile=f"{_ETC}/tls.crt")
    try:
        with urllib.request.urlopen(f"https://{ADDRESS}:{API_PORT}/readyz", context=trust, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _await(is_true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _READY_LIMIT_SECONDS
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {_READY_LIMIT_SECONDS:g} s in vain for {what}")
        time.sleep(0.05)


def _run(*command: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
