"""Ways to name an account and a credential, each tried on a real Azurite; no secret shows in an error."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tempagg_pipeline.core import azure_access
from tempagg_pipeline.core.object_store import ObjectStore, StoreUnavailableError, open_store
from tempagg_pipeline.core.settings import SettingsError, StoreSettings, load_settings
from tempagg_pipeline_tests.core.stores import azure_settings, new_container
from tempagg_pipeline_tests.servers.azurite import ACCOUNT, KEY, Azurite, azurite
from tempagg_pipeline_tests.servers.certificates import make_certificate
from tempagg_pipeline_tests.servers.entra import TENANT, entra
from tempagg_pipeline_tests.servers.processes import free_port

WRONG_KEY = "A" + KEY[1:]
OPERATIONS: dict[str, Callable[[ObjectStore], object]] = {
    "head": lambda store: store.head("a.csv"),
    "open": lambda store: store.open("a.csv"),
    "read": lambda store: store.read("a.csv"),
    "replace": lambda store: store.replace("a.csv", [b"x"]),
    "list": lambda store: list(store.list()),
}


def _works(monkeypatch: pytest.MonkeyPatch, server: Azurite, env: dict[str, str]) -> None:
    """With this environment an object can be written, read and listed."""
    for name, value in {"TEMPAGG_CONTAINER": new_container(server), **env}.items():
        monkeypatch.setenv(name, value)
    store = open_store(load_settings().store)
    store.replace("a.csv", [b"x"])
    assert store.read("a.csv") == b"x"
    assert [info.name for info in store.list()] == ["a.csv"]


def _sas(server: Azurite, permissions: str = "rwlc") -> str:
    from azure.storage.blob import generate_account_sas

    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    return generate_account_sas(ACCOUNT, KEY, "sco", permissions, in_an_hour)  # pyright: ignore[reportArgumentType]


# --- what works


def test_account_and_access_key(monkeypatch: pytest.MonkeyPatch, azurite_server: Azurite):
    env = {"AZURE_STORAGE_ACCOUNT": ACCOUNT, "AZURE_STORAGE_ACCESS_KEY": KEY}
    _works(monkeypatch, azurite_server, env | {"AZURE_STORAGE_BLOB_ENDPOINT": azurite_server.endpoint})


def test_an_account_url_names_the_account(monkeypatch: pytest.MonkeyPatch, azurite_server: Azurite):
    env = {"AZURE_STORAGE_ACCOUNT_URL": azurite_server.endpoint + "/", "AZURE_STORAGE_KEY": KEY}
    _works(monkeypatch, azurite_server, env)


def test_a_connection_string(monkeypatch: pytest.MonkeyPatch, azurite_server: Azurite):
    _works(monkeypatch, azurite_server, {"AZURE_STORAGE_CONNECTION_STRING": azurite_server.connection_string})


def test_a_connection_string_with_a_sas(monkeypatch: pytest.MonkeyPatch, azurite_server: Azurite):
    text = f"BlobEndpoint={azurite_server.endpoint};SharedAccessSignature={_sas(azurite_server)}"
    _works(monkeypatch, azurite_server, {"AZURE_STORAGE_CONNECTION_STRING": text})


@pytest.mark.parametrize("mark", ["", "?"])
def test_a_shared_access_signature(monkeypatch: pytest.MonkeyPatch, azurite_server: Azurite, mark: str):
    env = {
        "AZURE_STORAGE_BLOB_ENDPOINT": azurite_server.endpoint,
        "AZURE_STORAGE_SAS_TOKEN": mark + _sas(azurite_server),
    }
    _works(monkeypatch, azurite_server, env)


def test_the_credentials_file_of_the_original_job(
    monkeypatch: pytest.MonkeyPatch, azurite_server: Azurite, tmp_path: Path
):
    path = tmp_path / "credentials.json"
    path.write_text(json.dumps({"storage_account": ACCOUNT, "account_key": KEY}))
    env = {"AZURE_CREDENTIALS_PATH": str(path), "AZURE_STORAGE_BLOB_ENDPOINT": azurite_server.endpoint}
    _works(monkeypatch, azurite_server, env)


@pytest.mark.parametrize("credential", ["key", "SAS"])
def test_other_variables_of_azure_change_nothing(
    monkeypatch: pytest.MonkeyPatch, azurite_server: Azurite, credential: str
):
    others = {
        "AZURE_STORAGE_SAS_KEY": "sig=wrong", "AZURE_STORAGE_TOKEN": "wrong", "AZURE_CONTAINER_NAME": "other",
        "AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_FEDERATED_TOKEN_FILE": "/nowhere",
        "AZURE_STORAGE_USE_EMULATOR": "true", "AZURE_SKIP_SIGNATURE": "true",
    }  # fmt: skip
    env = azurite_server.env | others
    if credential == "SAS":
        del env["AZURE_STORAGE_ACCESS_KEY"]
        env["AZURE_STORAGE_SAS_TOKEN"] = _sas(azurite_server)
    _works(monkeypatch, azurite_server, env)


# --- where account and credential come from


def _resolved(**values: object) -> azure_access.AzureAccess:
    return azure_access.resolve(StoreSettings.model_validate(values))


def test_an_account_has_its_public_endpoint():
    access = _resolved(account="weather")
    assert (access.account, access.endpoint) == ("weather", "https://weather.blob.core.windows.net")
    assert access.account_key is access.sas_token is None


def test_the_endpoint_of_a_sovereign_cloud_names_its_account():
    access = _resolved(endpoint="https://weather.blob.core.chinacloudapi.cn/")
    assert (access.account, access.endpoint) == ("weather", "https://weather.blob.core.chinacloudapi.cn")


def test_a_connection_string_as_the_portal_gives_it():
    text = "DefaultEndpointsProtocol=https;AccountName=weather;AccountKey=a2V5PT0=;EndpointSuffix=core.windows.net"
    access = _resolved(connection_string=text)
    assert (access.account, access.endpoint) == ("weather", "https://weather.blob.core.windows.net")
    assert access.account_key is not None
    assert access.account_key.get_secret_value() == "a2V5PT0="


def test_a_connection_string_comes_before_all_else():
    access = _resolved(connection_string="AccountName=first;AccountKey=a2V5", account="second", account_key="b3RoZXI=")
    assert access.account == "first"


def test_a_key_comes_before_the_credentials_file():
    access = _resolved(account="weather", account_key="a2V5", credentials_path="/nowhere.json")
    assert access.account == "weather"


def test_secrets_do_not_show_when_printed():
    access = _resolved(account="weather", account_key="c2VjcmV0", sas_token="sig=c2VjcmV0")
    assert "c2VjcmV0" not in f"{access!r} {access}"


# --- what is wrong


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"connection_string": "AccountKey=c2VjcmV0"}, "AZURE_STORAGE_CONNECTION_STRING: expected AccountName"),
        ({"connection_string": "UseDevelopmentStorage=true"}, "AZURE_STORAGE_CONNECTION_STRING: expected an account"),
        (
            {"account": "weather", "account_key": "c2VjcmV0 !"},
            "Azure storage account weather: expected an account key in base64",
        ),
        ({"credentials_path": "/nowhere.json"}, "AZURE_CREDENTIALS_PATH: .*No such file"),
    ],
)
def test_incomplete_access_is_one_clear_error(values: dict[str, object], message: str):
    with pytest.raises(SettingsError, match=message) as caught:
        open_store(StoreSettings.model_validate({"backend": "azure", **values}))
    assert "c2VjcmV0" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"c2VjcmV0", b'["c2VjcmV0"]', b'{"account_key": "c2VjcmV0"}', b'{"storage_account": "weather"}',
        b'{"storage_account": "weather", "account_key": ""}', b'{"storage_account": 7, "account_key": "c2VjcmV0"}',
        b"\xff\xfe",
    ],
)  # fmt: skip
def test_a_bad_credentials_file_is_named_and_not_shown(content: bytes, tmp_path: Path):
    path = tmp_path / "credentials.json"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        _resolved(credentials_path=path)
    assert str(path) in str(caught.value)
    assert "c2VjcmV0" not in str(caught.value)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_wrong_key_is_refused_and_not_shown(azurite_server: Azurite, operation: str):
    store = open_store(azure_settings(azurite_server, account_key=WRONG_KEY))
    with pytest.raises(StoreUnavailableError, match="403 Forbidden") as caught:
        OPERATIONS[operation](store)
    _assert_one_clean_line(caught.value, WRONG_KEY)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_wrong_signature_is_refused_and_not_shown(azurite_server: Azurite, operation: str):
    sas = _sas(azurite_server)
    signature = sas.partition("sig=")[2].partition("&")[0]
    spoilt = signature[:4] + ("B" if signature[4] == "A" else "A") + signature[5:]
    settings = azure_settings(azurite_server, account_key=None, sas_token=sas.replace(signature, spoilt))
    with pytest.raises(StoreUnavailableError, match="403 Forbidden") as caught:
        OPERATIONS[operation](open_store(settings))
    _assert_one_clean_line(caught.value, spoilt)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_unreachable_account_is_told_without_secrets(operation: str):
    endpoint = f"http://127.0.0.1:{free_port()}/{ACCOUNT}"
    values = {"backend": "azure", "account": ACCOUNT, "endpoint": endpoint, "sas_token": "sv=2024&sig=c2VjcmV0"}
    with pytest.raises(StoreUnavailableError) as caught:
        OPERATIONS[operation](open_store(StoreSettings.model_validate(values)))
    assert endpoint in str(caught.value)
    _assert_one_clean_line(caught.value, "c2VjcmV0")


@pytest.mark.parametrize("operation", ["open", "read", "replace", "list"])
def test_a_missing_container_is_no_missing_object(azurite_server: Azurite, operation: str):
    store = open_store(azure_settings(azurite_server, container="nowhere"))
    with pytest.raises(StoreUnavailableError, match="/nowhere"):
        OPERATIONS[operation](store)


def test_a_server_that_goes_away_in_mid_read_is_an_unavailable_store(tmp_path: Path):
    with azurite(tmp_path) as server:
        store = open_store(azure_settings(server))
        store.replace("a.csv", (bytes(1024 * 1024) for _ in range(32)))
        opened = store.open("a.csv")
    assert opened is not None
    with pytest.raises(StoreUnavailableError, match=r"a\.csv in http"):
        for _ in opened.chunks:
            pass


def _assert_one_clean_line(error: Exception, secret: str) -> None:
    assert "\n" not in str(error)
    assert secret not in str(error)
    assert "sig=" not in str(error)
    assert error.__suppress_context__


# --- no key at all


def test_the_identity_library_is_imported_only_where_no_key_is_configured():
    script = """
import sys
from tempagg_pipeline.core.object_store import open_store
from tempagg_pipeline.core.settings import StoreSettings

open_store(StoreSettings(account="weather", account_key="a2V5"))
assert not [name for name in sys.modules if name.startswith("azure")]
open_store(StoreSettings(account="weather"))
assert "azure.identity" in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_workload_identity_reads_and_writes_with_a_token_and_no_key(tmp_path: Path):
    certificate = make_certificate(tmp_path)
    service_account_token = tmp_path / "azure-identity-token"
    service_account_token.write_text("of the service account")
    script = """
from tempagg_pipeline.core.object_store import open_store
from tempagg_pipeline.core.settings import load_settings

store = open_store(load_settings().store)
store.replace("a.csv", [b"x"])
assert store.read("a.csv") == b"x"
assert [info.name for info in store.list()] == ["a.csv"]
"""
    with entra(certificate) as identity, azurite(tmp_path / "azurite", certificate=certificate) as server:
        server.create_container("temperaturefiles")
        # What AKS' workload identity puts into a pod's environment, and trust in the certificate.
        env = {
            "AZURE_STORAGE_BLOB_ENDPOINT": server.endpoint,
            "AZURE_CLIENT_ID": "22222222-2222-2222-2222-222222222222",
            "AZURE_TENANT_ID": TENANT,
            "AZURE_FEDERATED_TOKEN_FILE": str(service_account_token),
            "AZURE_AUTHORITY_HOST": identity.authority,
            "SSL_CERT_FILE": str(certificate.chain),
            "REQUESTS_CA_BUNDLE": str(certificate.chain),
        }
        subprocess.run([sys.executable, "-c", script], check=True, timeout=120, env={**os.environ, **env})
    (asked,) = identity.requests
    assert asked["path"] == f"/{TENANT}/oauth2/v2.0/token"
    assert (asked["client_id"], asked["client_assertion"]) == (env["AZURE_CLIENT_ID"], "of the service account")
    assert asked["scope"] == "https://storage.azure.com/.default"
