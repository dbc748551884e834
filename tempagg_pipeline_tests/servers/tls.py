"""TLS in front of a server that has none of its own, as stunnel or a managed service's gateway does it."""

import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from socket import SHUT_WR, create_connection, socket

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_LIFETIME = timedelta(days=1)


@dataclass(frozen=True)
class TlsRelay:
    """A port that speaks TLS and passes all on."""

    port: int
    ca_file: Path
    """Certificate of the authority that vouches for it."""


@contextmanager
def tls_relay(directory: Path, target_port: int) -> Iterator[TlsRelay]:
    """TLS on a free port of loopback, in front of another port there.

    Args:
        directory: takes the certificates.
        target_port: where the plain server listens.
    """
    directory.mkdir(parents=True, exist_ok=True)
    ca_file, certificate_file = _write_certificates(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file)

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
            yield TlsRelay(server.server_address[1], ca_file)
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


def _write_certificates(directory: Path) -> tuple[Path, Path]:
    """A certificate authority's certificate, and the server's with its key."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name, name = _name("Test authority"), _name("localhost")
    ca = _certificate(ca_name, ca_name, ca_key.public_key())
    ca = ca.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    ca = ca.add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
    ca = ca.add_extension(_key_usage(signs_certificates=True), critical=True)
    server = _certificate(name, ca_name, key.public_key())
    address = x509.IPAddress(ip_address("127.0.0.1"))
    server = server.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), address]), critical=False)
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    server = server.add_extension(authority, critical=False)
    ca_file, certificate_file = directory / "ca.pem", directory / "server.pem"
    ca_file.write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    signed = server.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    certificate_file.write_bytes(private + signed)
    return ca_file, certificate_file


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _LIFETIME)
        .not_valid_after(now + _LIFETIME)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _key_usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
