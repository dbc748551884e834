"""What every run, tick and command pays for: loading the definitions."""

import subprocess
import sys

import pytest

HEAVY = ["pandas", "polars", "azure", "kubernetes", "redis", "sqlalchemy", "alembic", "pyarrow", "requests", "aiohttp"]


@pytest.fixture(scope="module")
def imported() -> set[str]:
    """Packages that a process has imported once it has the definitions."""
    code = "import sys, tempagg_pipeline.definitions; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("package", HEAVY)
def test_definitions_load_without(package: str, imported: set[str]):
    assert package not in imported
