"""Which storage account, and with which credential: resolves the ways to say so that Azure users know."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field, SecretStr, ValidationError

from tempagg_pipeline.core.settings import SettingsError, StoreSettings

if TYPE_CHECKING:
    from obstore.store import AzureCredential

_AZURITE_ACCOUNT = "devstoreaccount1"
_AZURITE_ENDPOINT = "http://127.0.0.1:10000/devstoreaccount1"


@dataclass(frozen=True)
class AzureAccess:
    """A storage account, and a key or a SAS; with neither, ``DefaultAzureCredential`` is meant."""

    account: str
    endpoint: str
    """Blob endpoint without a slash at the end."""
    account_key: SecretStr | None = None
    sas_token: SecretStr | None = None


class _CredentialsFile(BaseModel):
    storage_account: Annotated[str, Field(min_length=1)]
    account_key: Annotated[SecretStr, Field(min_length=1)]


def resolve(settings: StoreSettings) -> AzureAccess:
    """Settle account, endpoint and credential: connection string, then key or SAS, then credentials file, then none.

    Raises:
        SettingsError: what is configured is incomplete or can't be read.
    """
    if settings.connection_string is not None:
        return _from_connection_string(settings.connection_string.get_secret_value())
    account, key = settings.account, settings.account_key
    if settings.credentials_path is not None and key is None and settings.sas_token is None:
        file = _read_credentials_file(settings.credentials_path)
        account, key = file.storage_account, file.account_key
    account = account or _account_of(settings.endpoint)
    if not account:
        raise SettingsError("AZURE_STORAGE_ACCOUNT: expected the storage account's name, found nothing")
    endpoint = settings.endpoint or _public_endpoint(account)
    return AzureAccess(account, endpoint.rstrip("/"), key, settings.sas_token)


def credential_provider(access: AzureAccess) -> "Callable[[], AzureCredential]":
    """What the store asks for a credential whenever it needs one.

    Raises:
        SettingsError: the account key is no base64 text.
    """
    if access.account_key is not None:
        key = access.account_key.get_secret_value()
        _check_base64(key, access.account)
        return lambda: {"access_key": key, "expires_at": None}
    if access.sas_token is not None:
        token = access.sas_token.get_secret_value().removeprefix("?")
        return lambda: {"sas_token": token, "expires_at": None}
    # Imported here: the Azure identity library is wanted only where no key is configured.
    from obstore.auth.azure import AzureCredentialProvider

    return AzureCredentialProvider()


def _check_base64(key: str, account: str) -> None:
    try:
        base64.b64decode(key, validate=True)
    except ValueError:
        raise SettingsError(f"Azure storage account {account}: expected an account key in base64") from None


def _public_endpoint(account: str, protocol: str = "https", suffix: str = "core.windows.net") -> str:
    return f"{protocol}://{account}.blob.{suffix}"


def _account_of(endpoint: str | None) -> str | None:
    """``https://name.blob.core.windows.net`` names its account; an emulator's endpoint has it as the path."""
    if endpoint is None:
        return None
    host, _, path = endpoint.partition("://")[2].rstrip("/").partition("/")
    return path or host.partition(".")[0] or None


def _from_connection_string(text: str) -> AzureAccess:
    fields = dict(part.split("=", 1) for part in text.strip().rstrip(";").split(";") if "=" in part)
    if fields.get("UseDevelopmentStorage", "").lower() == "true":
        raise SettingsError(
            "AZURE_STORAGE_CONNECTION_STRING: expected an account; for Azurite give its full connection string"
            f" (AccountName={_AZURITE_ACCOUNT};AccountKey=…;BlobEndpoint={_AZURITE_ENDPOINT})"
        )
    endpoint, account = fields.get("BlobEndpoint"), fields.get("AccountName")
    account = account or _account_of(endpoint)
    if not account:
        raise SettingsError("AZURE_STORAGE_CONNECTION_STRING: expected AccountName=… or BlobEndpoint=…")
    key, sas = fields.get("AccountKey"), fields.get("SharedAccessSignature")
    protocol, suffix = fields.get("DefaultEndpointsProtocol", "https"), fields.get("EndpointSuffix", "core.windows.net")
    endpoint = endpoint or _public_endpoint(account, protocol, suffix)
    return AzureAccess(account, endpoint.rstrip("/"), SecretStr(key) if key else None, SecretStr(sas) if sas else None)


def _read_credentials_file(path: Path) -> _CredentialsFile:
    expected = f'AZURE_CREDENTIALS_PATH: expected JSON {{"storage_account": …, "account_key": …}} in {path}'
    try:
        return _CredentialsFile.model_validate_json(path.expanduser().read_bytes())
    except OSError as error:
        raise SettingsError(f"{expected}: {error.strerror}") from None
    except ValidationError:
        # The content may be a secret in the wrong place: it is not shown.
        raise SettingsError(expected) from None
