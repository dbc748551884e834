"""The seam to where objects live: a local directory or an Azure Blob container, behind one small class.

Both backends replace objects atomically: a reader sees the old or the new object, never a part. ETags tell versions of
an object apart. The work is done by obstore (Rust's object_store), which only this module and ``azure_access`` know.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import obstore
from obstore.exceptions import BaseError, NotModifiedError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore, LocalStore

from tempagg_pipeline.core import azure_access
from tempagg_pipeline.core.settings import SettingsError, StoreSettings

if TYPE_CHECKING:
    from obstore import BytesStream, ObjectMeta

CSV_CONTENT_TYPE = "text/csv; charset=utf-8"

_READ_BYTES = 1024 * 1024
_STREAMED_FROM_BYTES = 4 * 1024 * 1024
_STREAMED_FROM_BYTES_AZURE = 64 * 1024 * 1024
"""Azure takes a smaller object in one request. A larger one goes in blocks whose names every client derives from their
position: writers of the same object at the same moment would mix theirs."""
_RETRIES = 4
_RETRY_TIMEOUT = timedelta(seconds=60)
_REQUEST_TIMEOUT = "5 minutes"
_AZ_SCHEME = "az://"
_NO_CONTAINER = "ContainerNotFound"


class ObjectNotFoundError(FileNotFoundError):
    """No object of this name; no retry mends that."""


class StoreUnavailableError(OSError):
    """The store can't be reached or refuses; another attempt may do. The text carries no credentials."""


@dataclass(frozen=True)
class ObjectInfo:
    """One version of an object."""

    name: str
    size: int
    """Bytes."""
    etag: str
    """Changes with every write of the object."""
    modified: datetime | None
    """None right after a write: the store tells only the ETag then."""


@dataclass(frozen=True)
class OpenObject:
    """One version of an object, open for reading once."""

    info: ObjectInfo
    chunks: Iterable[bytes]
    """The content, in pieces of about a megabyte, fetched as they are asked for."""


class ObjectStore:
    """A container of objects.

    Attributes:
        url: where the container is, for people: ``file:///…`` or ``https://account.blob.core.windows.net/container``.
    """

    def __init__(self, store: "LocalStore | AzureStore", url: str) -> None:
        self._store = store
        self.url = url

    def url_of(self, name: str) -> str:
        """Where an object of this name is, for people."""
        return f"{self.url}/{quote(name)}"

    def head(self, name: str) -> ObjectInfo:
        """Look an object up without reading it.

        Raises:
            ObjectNotFoundError: there is none.
            StoreUnavailableError: the store did not answer.
        """
        with self._errors(name):
            return _info(self._store.head(name))

    def find(self, name: str) -> ObjectInfo | None:
        """Like ``head``, with None for an object that is not there."""
        try:
            return self.head(name)
        except ObjectNotFoundError:
            return None

    def open(self, name: str, unless_etag: str | None = None) -> OpenObject | None:
        """Open an object for reading; None when its ETag still is ``unless_etag``, at the cost of one small request.

        Raises:
            ObjectNotFoundError: there is none.
            StoreUnavailableError: the store did not answer.
        """
        with self._errors(name):
            try:
                options: obstore.GetOptions = {} if unless_etag is None else {"if_none_match": unless_etag}
                result = self._store.get(name, options=options)
            except NotModifiedError:
                return None
            return OpenObject(_info(result.meta), self._chunks(name, result.stream(min_chunk_size=_READ_BYTES)))

    def read(self, name: str) -> bytes:
        """The whole content of an object.

        Raises:
            ObjectNotFoundError: there is none.
            StoreUnavailableError: the store did not answer.
        """
        with self._errors(name):
            return bytes(self._store.get(name).bytes())

    def replace(self, name: str, pieces: Iterable[bytes]) -> ObjectInfo:
        """Write an object in one atomic step: readers see the old or the whole new one.

        Args:
            name: the object's name.
            pieces: its content; may be longer than memory.

        Raises:
            StoreUnavailableError: the store did not take it; the old object is as it was.
        """
        is_local = isinstance(self._store, LocalStore)
        attributes = {} if is_local else {"Content-Type": CSV_CONTENT_TYPE}
        counted = _Counted(pieces)
        start, rest = _first_bytes(iter(counted), _STREAMED_FROM_BYTES if is_local else _STREAMED_FROM_BYTES_AZURE)
        with self._errors(name):
            if rest is None:
                result = self._store.put(name, start, attributes=attributes, use_multipart=False)
            else:
                result = self._store.put(name, chain([start], rest), attributes=attributes)
        return ObjectInfo(name, counted.size, _etag(result["e_tag"]), modified=None)

    def list(self) -> Iterator[ObjectInfo]:
        """All objects of the container, folders left out.

        Raises:
            StoreUnavailableError: the store did not answer.
        """
        with self._errors():
            for batch in self._store.list():
                for meta in batch:
                    if "/" not in meta["path"]:
                        yield _info(meta)

    def _chunks(self, name: str, stream: "BytesStream") -> Iterator[bytes]:
        with self._errors(name):
            for chunk in stream:
                yield bytes(chunk)

    @contextmanager
    def _errors(self, name: str | None = None) -> Iterator[None]:
        """Turn the store's errors into ours; their texts hold URLs and debug dumps, which may carry a signature."""
        where = self.url if name is None else f"{name} in {self.url}"
        try:
            yield
        except FileNotFoundError as error:
            if name is None or _NO_CONTAINER in str(error):
                raise StoreUnavailableError(f"{where}: there is no such container") from None
            raise ObjectNotFoundError(f"{name}: there is no such object in {self.url}") from None
        except (UnauthenticatedError, PermissionDeniedError, PermissionError) as error:
            raise StoreUnavailableError(f"{where}: access refused: {_safe(error)}") from None
        except BaseError as error:
            raise StoreUnavailableError(f"{where}: {_safe(error)}") from None


def open_store(settings: StoreSettings) -> ObjectStore:
    """The container that holds raw and hourly objects.

    Raises:
        SettingsError: account or credentials are incomplete.
    """
    if settings.is_azure:
        return _azure_container(settings, settings.container)
    return _local_directory(settings.local_root / settings.container)


def open_landing(settings: StoreSettings) -> ObjectStore | None:
    """Where producers leave raw files before the raw asset takes them over; None when they upload straight.

    Raises:
        SettingsError: as ``open_store``; or the directory is not there.
    """
    if settings.landing is None:
        return None
    landing = _landing(settings, settings.landing)
    if landing.url == open_store(settings).url:
        # Taking an object over would be to rewrite it in place, for ever anew.
        raise SettingsError(f"TEMPAGG_LANDING: expected another place than the container, found {settings.landing}")
    return landing


def _landing(settings: StoreSettings, place: str) -> ObjectStore:
    if place.startswith(_AZ_SCHEME):
        return _azure_container(settings, place.removeprefix(_AZ_SCHEME).strip("/"))
    directory = Path(place).expanduser()
    if not directory.is_dir():
        raise SettingsError(f"TEMPAGG_LANDING: expected a directory or az://container, found {place}")
    return _local_directory(directory)


def _local_directory(directory: Path) -> ObjectStore:
    directory = directory.expanduser().resolve()
    return ObjectStore(LocalStore(directory, mkdir=True), directory.as_uri())


def _azure_container(settings: StoreSettings, container: str) -> ObjectStore:
    access = azure_access.resolve(settings)
    store = AzureStore(
        container,
        account_name=access.account,
        endpoint=access.endpoint,
        # A credential provider goes before all that obstore itself would take from AZURE_… variables.
        credential_provider=azure_access.credential_provider(access),
        use_emulator=False,
        skip_signature=False,
        client_options={"allow_http": access.endpoint.startswith("http://"), "timeout": _REQUEST_TIMEOUT},
        retry_config={"max_retries": _RETRIES, "retry_timeout": _RETRY_TIMEOUT},
    )
    return ObjectStore(store, f"{access.endpoint}/{container}")


def _info(meta: "ObjectMeta") -> ObjectInfo:
    return ObjectInfo(meta["path"], meta["size"], _etag(meta["e_tag"]), meta["last_modified"])


def _etag(etag: str | None) -> str:
    """The ETag in quotes, as a condition needs it: a listing of Azure gives it without."""
    return f'"{etag}"' if etag and '"' not in etag else etag or ""


def _first_bytes(pieces: Iterator[bytes], limit: int) -> tuple[bytes, Iterator[bytes] | None]:
    """What comes first, up to about ``limit`` bytes, and the rest; None when that was all."""
    taken: list[bytes] = []
    size = 0
    for piece in pieces:
        taken.append(piece)
        size += len(piece)
        if size >= limit:
            return b"".join(taken), pieces
    return b"".join(taken), None


class _Counted:
    """Counts the bytes that pass."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.size += len(piece)
            yield piece


def _safe(error: Exception) -> str:
    """The error's first line and Azure's code, without URL queries, which may hold a signature."""
    text = str(error)
    first = re.sub(r"\?[^\s\"')]*", "", re.sub(r": <\?xml.*", "", text.partition("\n")[0]))
    code = re.search(r"<Code>(\w+)</Code>", text)
    return f"{first.strip()} ({code[1]})" if code else first.strip()
