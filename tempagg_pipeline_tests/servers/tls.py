"""TLS in front of a server that has none of its own, as stunnel or a managed service's gateway does it."""

import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from socket import SHUT_WR, create_connection, socket

from tempagg_pipeline_tests.servers.certificates import make_certificate


@dataclass(frozen=True)
class TlsRelay:
    """A port that speaks TLS and passes all on."""

    port: int
    ca_file: Path
    """What to trust in order to trust it."""


@contextmanager
def tls_relay(directory: Path, target_port: int) -> Iterator[TlsRelay]:
    """TLS on a free port of loopback, in front of another port there.

    Args:
        directory: takes the certificate.
        target_port: where the plain server listens.
    """
    directory.mkdir(parents=True, exist_ok=True)
    certificate = make_certificate(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            # A client that does not trust us ends the handshake: its matter.
            with suppress(OSError), context.wrap_socket(self.request, server_side=True) as secure:
                _pass_on(secure, target_port)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield TlsRelay(server.server_address[1], certificate.chain)
        finally:
            server.shutdown()


def _pass_on(secure: ssl.SSLSocket, target_port: int) -> None:
    with create_connection(("127.0.0.1", target_port)) as plain:
        threading.Thread(target=_copy, args=(plain, secure), daemon=True).start()
        _copy(secure, plain)


def _copy(source: socket, sink: socket) -> None:
    with suppress(OSError):
        while received := source.recv(65536):
            sink.sendall(received)
        sink.shutdown(SHUT_WR)
