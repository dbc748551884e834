"""Makes the client for the Redis server that the settings name: one server, Sentinel or a cluster, with or without TLS.

The redis package is imported when a client is made, not before: it takes a good part of a second.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import unquote, urlsplit

from tempagg_pipeline.core.settings import RedisSettings, SettingsError

if TYPE_CHECKING:
    from redis import Redis
    from redis.cluster import RedisCluster

RedisClient: TypeAlias = "Redis | RedisCluster"

OLDEST_SERVER = (6, 2)

_HEALTH_CHECK_SECONDS = 30
_RETRY_BASE_SECONDS = 0.1
_RETRY_CAP_SECONDS = 2.0
_SCHEME = re.compile(r"redis(?P<tls>s?)(\+(?P<kind>sentinel|cluster))?")
_DEFAULT_PORTS = {None: 6379, "cluster": 6379, "sentinel": 26379}
_EXPECTED = (
    "expected redis://host:port/db, rediss://…, redis+sentinel://host:port,host:port/service or"
    " redis+cluster://host:port,host:port, with user:password@ before the hosts if need be"
)


class QueueUnavailableError(OSError):
    """The Redis server can't be reached or refuses; another attempt may do. One line, without credentials."""


@dataclass(frozen=True)
class _Address:
    """Where the server is; credentials apart."""

    kind: str | None
    """``sentinel``, ``cluster``, or None for one server."""
    tls: bool
    nodes: list[tuple[str, int]]
    service: str
    """Name that the sentinels know the server by."""
    db: int

    def __str__(self) -> str:
        return ",".join(f"{host}:{port}" for host, port in self.nodes)


def connect(settings: RedisSettings) -> "RedisClient":
    """A client; the first command opens the connection.

    Raises:
        SettingsError: the URL is of no known form.
        QueueUnavailableError: no server is configured and the embedded one is not running; or no node of a cluster
            answers (a cluster's client asks for its nodes at once).
    """
    if settings.is_embedded:
        # Imported here: the embedded server needs this module.
        from tempagg_pipeline.core.embedded_redis import running_endpoint

        settings = running_endpoint(settings)
    if settings.url is None:
        address = _Address(None, settings.tls, [(settings.host or "", settings.port)], "", 0)
        credentials = _credentials(settings)
    else:
        address, credentials = _parse(settings)
    options = {**_options(settings, address.tls), **credentials}
    with redis_errors(str(address)):
        if address.kind == "cluster":
            return _cluster(address, options)
        if address.kind == "sentinel":
            return _sentinel(address, options, settings)
        return _single(address, options)


def check_server(client: "RedisClient") -> str:
    """The version of a server that answers.

    Raises:
        QueueUnavailableError: it does not, or is older than 6.2.
    """
    with redis_errors("Redis"):
        info: Any = client.info("server") if not _is_cluster(client) else client.info("server", target_nodes="random")  # pyright: ignore[reportCallIssue]
    version = str(info["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_SERVER:
        raise QueueUnavailableError(f"expected Redis 6.2 or newer, found {version}")
    return version


@contextmanager
def redis_errors(subject: str) -> Iterator[None]:
    """Turn whatever goes wrong between client and server into one clear line.

    Raises:
        QueueUnavailableError: in place of the client's own errors.
    """
    from redis.exceptions import RedisClusterException, RedisError

    try:
        yield
    except QueueUnavailableError:
        raise
    except (RedisError, RedisClusterException, OSError) as error:
        first_line = (str(error) or type(error).__name__).partition("\n")[0]
        raise QueueUnavailableError(f"{subject}: {first_line}") from None


def _is_cluster(client: "RedisClient") -> bool:
    from redis.cluster import RedisCluster

    return isinstance(client, RedisCluster)


def _options(settings: RedisSettings, tls: bool) -> dict[str, Any]:
    from redis.backoff import ExponentialWithJitterBackoff
    from redis.retry import Retry

    options: dict[str, Any] = {
        "socket_timeout": settings.timeout_seconds,
        "socket_connect_timeout": settings.timeout_seconds,
        "socket_keepalive": True,
        "health_check_interval": _HEALTH_CHECK_SECONDS,
        # Safe: each of the queue's operations may be repeated when its reply was lost.
        "retry": Retry(ExponentialWithJitterBackoff(_RETRY_CAP_SECONDS, _RETRY_BASE_SECONDS), settings.retries),
    }
    if tls:
        options["ssl"] = True
        if settings.ca_file is not None:
            options["ssl_ca_certs"] = str(settings.ca_file)
    return options


def _credentials(settings: RedisSettings) -> dict[str, Any]:
    password = settings.password.get_secret_value() if settings.password else None
    return {"username": settings.username, "password": password}


def _single(address: _Address, options: dict[str, Any]) -> "Redis":
    from redis import Redis

    [(host, port)] = address.nodes
    return Redis(host=host, port=port, db=address.db, **options)


def _sentinel(address: _Address, options: dict[str, Any], settings: RedisSettings) -> "Redis":
    from redis.sentinel import Sentinel

    # Sentinels have users and passwords of their own.
    password = settings.sentinel_password.get_secret_value() if settings.sentinel_password else None
    sentinel_options = {**options, "username": settings.sentinel_username, "password": password}
    sentinel = Sentinel(address.nodes, sentinel_kwargs=sentinel_options, **options)
    return sentinel.master_for(address.service, db=address.db)


def _cluster(address: _Address, options: dict[str, Any]) -> "RedisCluster":
    from redis.cluster import ClusterNode, RedisCluster

    return RedisCluster(startup_nodes=[ClusterNode(host, port) for host, port in address.nodes], **options)


def _parse(settings: RedisSettings) -> tuple[_Address, dict[str, Any]]:
    """Address and credentials of the URL; the URL itself never shows in an error, it may hold a password."""
    assert settings.url is not None  # noqa: S101 - for the type checker
    url = urlsplit(settings.url.get_secret_value())
    scheme = _SCHEME.fullmatch(url.scheme)
    if scheme is None or url.query or url.fragment:
        raise SettingsError(f"REDIS_URL: {_EXPECTED}")
    userinfo, _, hosts = url.netloc.rpartition("@")
    service, _, db = url.path.strip("/").partition("/") if scheme["kind"] == "sentinel" else ("", "", url.path[1:])
    try:
        nodes = [_node(host, _DEFAULT_PORTS[scheme["kind"]]) for host in hosts.split(",")]
        number = int(db or 0)
    except ValueError:
        raise SettingsError(f"REDIS_URL: {_EXPECTED}") from None
    if (scheme["kind"] is None and len(nodes) != 1) or (scheme["kind"] == "sentinel" and not service):
        raise SettingsError(f"REDIS_URL: {_EXPECTED}")
    user, _, password = userinfo.partition(":")
    credentials = _credentials(settings)
    if user:
        credentials["username"] = unquote(user)
    if password:
        credentials["password"] = unquote(password)
    return _Address(scheme["kind"], bool(scheme["tls"]), nodes, service, number), credentials


def _node(text: str, default_port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError
    return parts.hostname, parts.port or default_port
