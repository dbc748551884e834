"""The project's image, built from its ``Dockerfile``, and the small one that every pod starts with.

No registry is used. The Dockerfile's base image is Debian with its Python, made by debootstrap and given the name that
the Dockerfile asks for; everything after that is what the real build does.
"""

import subprocess
import tarfile
from pathlib import Path

from tempagg_pipeline_tests.kubernetes import parts
from tempagg_pipeline_tests.kubernetes.cache import cache_directory, cached, digest, locked

ROOT = Path(__file__).parents[2]
PROJECT_IMAGE = "localhost/tempagg-pipeline:tests"
PAUSE_IMAGE = "localhost/pause:1"
_BASE_IMAGE = "localhost/python-of-debian:tests"
_SUITE = "bookworm"
_SOURCES = (
    "Dockerfile",
    ".dockerignore",
    "deploy/image-excludes.txt",
    "pyproject.toml",
    "constraints.txt",
    "README.md",
    "tempagg_pipeline",
)
_PACKAGES = "python3,python3-venv,ca-certificates"


def project_archive() -> Path:
    """Archive of the project's image; built again when anything that goes into it has changed."""
    key = digest(*(ROOT / source for source in _SOURCES), _suite_key())
    return cached("image", key, _build_project) / "image.tar"


def pause_archive() -> Path:
    """Archive of the image whose process holds a pod's namespaces."""
    return cached("pause", digest(parts.pause()), _build_pause) / "image.tar"


def _suite_key() -> str:
    return digest(_SUITE, _PACKAGES)


def _build_project(directory: Path) -> None:
    with locked("buildah"):
        _import_base()
        _buildah(
            "build", "--layers", "--isolation=chroot", "--network=host", "--pull=never", "--format=docker",
            "--volume=/etc/ssl/certs:/etc/ssl/certs:ro", f"--build-arg=BASE_IMAGE={_BASE_IMAGE}",
            f"--tag={PROJECT_IMAGE}", f"--file={ROOT / 'Dockerfile'}", str(ROOT),
        )  # fmt: skip
        _buildah("push", PROJECT_IMAGE, f"docker-archive:{directory}/image.tar:{PROJECT_IMAGE}")


def _import_base() -> None:
    """Give buildah's store the base image, unless it has it."""
    tag = f"{_BASE_IMAGE}-{_suite_key()}"
    if not _buildah("images", "--quiet", "--filter", f"reference={tag}").strip():
        archive = cached("base", _suite_key(), _bootstrap) / "root.tar"
        container = _buildah("from", "scratch").strip()
        _buildah("add", container, str(archive), "/")
        _buildah("commit", "--rm", container, tag)
    _buildah("tag", tag, _BASE_IMAGE)


def _bootstrap(directory: Path) -> None:
    root = directory / "root"
    command = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, str(root)]
    _run(*command)
    _run("rm", "-rf", *(str(root / path) for path in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc")))
    _run("tar", "--create", "--file", str(directory / "root.tar"), "--directory", str(root), "--one-file-system", ".")
    _run("rm", "-rf", str(root))


def _build_pause(directory: Path) -> None:
    layers = directory / "pause.tar"
    with tarfile.open(layers, "w") as archive:
        archive.add(parts.pause(), "pause")
    with locked("buildah"):
        container = _buildah("from", "scratch").strip()
        _buildah("add", container, str(layers), "/")
        _buildah("config", "--entrypoint", '["/pause"]', container)
        _buildah("commit", "--rm", container, PAUSE_IMAGE)
        _buildah("push", PAUSE_IMAGE, f"docker-archive:{directory}/image.tar:{PAUSE_IMAGE}")


def _buildah(*arguments: str) -> str:
    store = cache_directory() / "buildah"
    return _run("buildah", f"--root={store}", f"--runroot={store}-run", *arguments)


def _run(*command: str) -> str:
    done = subprocess.run(["nice", *command], capture_output=True, text=True, check=False)
    if done.returncode:
        output = f"{done.stdout}{done.stderr}"[-4000:]
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{output}")
    return done.stdout
