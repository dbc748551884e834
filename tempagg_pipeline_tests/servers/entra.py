"""A stand-in for Entra ID's token endpoint: it exchanges a pod's service account token for an access token.

Entra ID itself can't run here. Requests are those that the real client library sends, and Azurite checks the token.
"""

import base64
import json
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from tempagg_pipeline_tests.servers.certificates import Certificate

TENANT = "11111111-1111-1111-1111-111111111111"


@dataclass
class Entra:
    """A running token endpoint, and the forms that were posted to it."""

    authority: str
    requests: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def entra(certificate: Certificate) -> Iterator[Entra]:
    """A token endpoint on loopback; ended with the context."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            endpoint.requests.append({name: values[0] for name, values in form.items()} | {"path": self.path})
            answer = json.dumps({"token_type": "Bearer", "expires_in": 3600, "access_token": _token()}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    endpoint = Entra(f"https://localhost:{server.server_address[1]}/")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _token() -> str:
    now = int(time.time())
    claims = {
        "aud": "https://storage.azure.com", "iss": f"https://sts.windows.net/{TENANT}/", "tid": TENANT,
        "iat": now - 60, "nbf": now - 60, "exp": now + 3600,
    }  # fmt: skip
    return ".".join([_part({"alg": "RS256", "typ": "JWT"}), _part(claims), "c2lnbmF0dXJl"])


def _part(content: Mapping[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
