"""Azurite, the emulator of Azure Blob Storage: as real as Blob gets without an account."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tempagg_pipeline_tests.servers.certificates import Certificate
from tempagg_pipeline_tests.servers.processes import accepts_connections, free_port, running
from tempagg_pipeline_tests.servers.required import require

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The account and key that every Azurite has; published by Microsoft, no secret."""

_ROOT = Path(__file__).parents[2]
_NODE = _ROOT / ".venv" / "bin" / "node"
_SCRIPT = _ROOT / ".local" / "node" / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"


@dataclass(frozen=True)
class Azurite:
    """A running emulator."""

    port: int
    log: Path
    certificate: Certificate | None = None

    @property
    def endpoint(self) -> str:
        """Blob endpoint of the account."""
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}/{ACCOUNT}"

    @property
    def connection_string(self) -> str:
        """Connection string of the account."""
        return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={self.endpoint};"

    @property
    def env(self) -> dict[str, str]:
        """Environment that makes the pipeline use this account."""
        return {
            "TEMPAGG_STORE": "azure",
            "AZURE_STORAGE_ACCOUNT": ACCOUNT,
            "AZURE_STORAGE_ACCESS_KEY": KEY,
            "AZURE_STORAGE_BLOB_ENDPOINT": self.endpoint,
        }

    def requests(self, container: str) -> list[str]:
        """Requests for objects of a container until now, as method, object name and status."""
        pattern = rf'"(\w+) /{ACCOUNT}/{container}/([^? ]+)\S* HTTP/1.1" (\d+)'
        return [" ".join(found) for found in re.findall(pattern, self.log.read_text())]

    def create_container(self, name: str) -> None:
        """Create a container; it must not exist."""
        from azure.storage.blob import BlobServiceClient

        verify = str(self.certificate.chain) if self.certificate else True
        with BlobServiceClient.from_connection_string(self.connection_string, connection_verify=verify) as client:
            client.create_container(name)


@contextmanager
def azurite(directory: Path, host: str = "127.0.0.1", certificate: Certificate | None = None) -> Iterator[Azurite]:
    """A running Azurite that keeps its data in a directory; ended with the context.

    With a certificate it speaks TLS and takes Entra ID's tokens beside the account key; it checks all of a token but
    its signature.

    Skips the test, or fails it where all parts are required, when Azurite is not installed.
    """
    require(_SCRIPT.exists() and _NODE.exists(), "Azurite is not installed; `make test` does that")
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [
        str(_NODE), str(_SCRIPT), "--blobHost", host, "--blobPort", str(port), "--location", str(directory),
        "--disableTelemetry", "--skipApiVersionCheck",
    ]  # fmt: skip
    if certificate is not None:
        command += ["--cert", str(certificate.chain), "--key", str(certificate.key), "--oauth", "basic"]
    log = directory / "azurite.log"
    with running(command, log, lambda: accepts_connections(port)):
        yield Azurite(port, log, certificate)
