"""A small token server, as registries with bearer tokens have one.

    python3 token_server.py CERT KEY SERVICE USER PASSWORD

It prints its port on one line and then answers `GET /token?service=…&scope=…` with a token (RS256,
signed by openssl) for what was asked. Pulling needs no password; pushing needs the user's.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

ISSUER = "airgapbuild test bed"
_LIFETIME = 300


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Signer:
    """Makes tokens that a registry trusts which has the certificate as its root."""

    def __init__(self, certificate: Path, private_key: Path) -> None:
        self._key = private_key
        lines = certificate.read_text().strip().splitlines()
        self._header = {"typ": "JWT", "alg": "RS256", "x5c": ["".join(lines[1:-1])]}

    def token(self, service: str, subject: str, access: list[dict[str, Any]]) -> str:
        """Return a signed token that grants this access for a few minutes."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": subject,
            "aud": service,
            "iat": now,
            "nbf": now - 5,
            "exp": now + _LIFETIME,
            "jti": str(time.time_ns()),
            "access": access,
        }
        parts = (json.dumps(part).encode() for part in (self._header, claims))
        signed = ".".join(_encode(part) for part in parts)
        argv = ("openssl", "dgst", "-sha256", "-sign", str(self._key))
        done = subprocess.run(argv, input=signed.encode(), capture_output=True, check=True)
        return f"{signed}.{_encode(done.stdout)}"


def granted(scopes: list[str], *, trusted: bool) -> list[dict[str, Any]]:
    """Return what may be done of what was asked (`repository:NAME:pull,push`)."""
    access = []
    for scope in " ".join(scopes).split():
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        allowed = [action for action in actions.split(",") if trusted or action == "pull"]
        access.append({"type": kind, "name": name, "actions": allowed})
    return access


class Handler(BaseHTTPRequestHandler):
    """Answers token requests."""

    signer: Signer
    service: str
    user: tuple[str, str]

    def do_GET(self) -> None:
        """Answer with a token, or refuse a wrong password."""
        query = parse_qs(urlsplit(self.path).query)
        given = self.headers.get("Authorization", "").partition(" ")[2]
        user, _, password = base64.b64decode(given).decode().partition(":")
        if given and (user, password) != self.user:
            self._answer(HTTPStatus.UNAUTHORIZED, {"details": "wrong user or password"})
            return
        access = granted(query.get("scope", []), trusted=bool(given))
        token = self.signer.token(self.service, user, access)
        self._answer(HTTPStatus.OK, {"token": token, "expires_in": _LIFETIME})

    def _answer(self, status: HTTPStatus, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main(argv: list[str]) -> None:
    """Serve until killed."""
    certificate, private_key, service, user, password = argv
    Handler.signer = Signer(Path(certificate), Path(private_key))
    Handler.service, Handler.user = service, (user, password)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        print(f"listening on 127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
