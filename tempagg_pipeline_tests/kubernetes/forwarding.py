"""Carries TCP connections between the cluster's network namespace and this machine's loopback.

A socket belongs to the namespace in which it was made, whoever uses it later; so a thread that enters the namespace can
make one end there, and no link or route is needed.
"""

import ctypes
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Endpoint:
    """Where to listen or connect.

    Attributes:
        host: address.
        port: TCP port; 0 to listen on a free one.
        namespace: file of the network namespace (``/proc/<pid>/ns/net``); None: this process's own.
    """

    host: str
    port: int
    namespace: Path | None = None

    def listen(self) -> socket.socket:
        """A listening socket there."""
        return _in_namespace(self.namespace, lambda: socket.create_server((self.host, self.port), backlog=128))

    def connect(self) -> socket.socket:
        """A connection to there."""
        return _in_namespace(self.namespace, lambda: socket.create_connection((self.host, self.port)))


class Forwarder:
    """Accepts connections at one endpoint and carries them to another, until it is closed."""

    def __init__(self, source: Endpoint, target: Endpoint) -> None:
        self._target = target
        self._flows = threading.Event()
        self._flows.set()
        self._listener = source.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        """Port that it listens on."""
        return self._listener.getsockname()[1]

    @contextmanager
    def held(self) -> Iterator[None]:
        """While the context is open nothing is carried, as when a network or a server hangs; nothing is lost."""
        self._flows.clear()
        try:
            yield
        finally:
            self._flows.set()

    def close(self) -> None:
        """Accept no more; connections that are open end when a side ends them."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=[client], daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client:
            self._flows.wait()
            try:
                server = self._target.connect()
            except OSError:
                return
            with server:
                back = threading.Thread(target=self._pump, args=[server, client], daemon=True)
                back.start()
                self._pump(client, server)
                back.join()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                self._flows.wait()
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


def _in_namespace(namespace: Path | None, make: Callable[[], socket.socket]) -> socket.socket:
    """Make a socket in a namespace, in a thread that ends there: a thread's namespace is its own."""
    if namespace is None:
        return make()
    made: list[socket.socket | OSError] = []

    def enter_and_make() -> None:
        try:
            with namespace.open() as handle:
                if ctypes.CDLL(None, use_errno=True).setns(handle.fileno(), _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            made.append(make())
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=enter_and_make)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise made[0]
    return made[0]
