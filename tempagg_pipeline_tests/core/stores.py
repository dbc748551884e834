"""Stores for tests: a local directory, or a container of its own in Azurite."""

import uuid
from pathlib import Path

from tempagg_pipeline.core.object_store import ObjectStore, open_store
from tempagg_pipeline.core.settings import StoreSettings
from tempagg_pipeline_tests.servers.azurite import ACCOUNT, KEY, Azurite


def local_settings(directory: Path, **changes: object) -> StoreSettings:
    """Settings of a local store."""
    return StoreSettings.model_validate({"backend": "local", "local_root": directory} | changes)


def azure_settings(server: Azurite, **changes: object) -> StoreSettings:
    """Settings of a new container in Azurite."""
    values: dict[str, object] = {
        "backend": "azure",
        "account": ACCOUNT,
        "account_key": KEY,
        "endpoint": server.endpoint,
    }
    if "container" not in changes:
        changes["container"] = new_container(server)
    return StoreSettings.model_validate(values | changes)


def new_container(server: Azurite) -> str:
    """Create a container that no other test has."""
    name = f"c{uuid.uuid4().hex[:20]}"
    server.create_container(name)
    return name


def local_store(directory: Path, **changes: object) -> ObjectStore:
    """A store in a directory."""
    return open_store(local_settings(directory, **changes))


def azure_store(server: Azurite, **changes: object) -> ObjectStore:
    """A store in a new container."""
    return open_store(azure_settings(server, **changes))
