"""Tools that would weigh down the project's own environment, each in one of its own, kept for the next test run."""

import subprocess
import sys
from pathlib import Path

from tempagg_pipeline_tests.kubernetes.cache import cached
from tempagg_pipeline_tests.servers.required import require


def tool_python(package: str, version: str) -> Path:
    """The Python of an environment that has this package; made on first use.

    Skips the test, or fails it where all parts are required, when the package can't be installed.
    """
    python_version = f"py{sys.version_info.major}.{sys.version_info.minor}"
    try:
        directory = cached(
            package, f"{version}-{python_version}", lambda empty: _install(empty, f"{package}=={version}")
        )
    except subprocess.CalledProcessError as error:
        require(False, f"{package} {version} can't be installed: {error.stderr[-500:]}")
        raise
    return directory / "bin" / "python"


def _install(directory: Path, requirement: str) -> None:
    uv = Path(sys.executable).with_name("uv")
    for command in (
        [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, directory],
        [uv, "pip", "install", "--quiet", "--python", directory / "bin" / "python", requirement],
    ):
        subprocess.run(command, capture_output=True, text=True, check=True)
