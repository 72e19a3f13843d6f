"""What a receiver is told of who is called: over a real connection, whose address was looked at before."""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from api.certificates import trusted
from api.notifications.messages import Told
from api.notifications.outgoing import send
from api.providers import egress

TOLD = Told("msg_1", "channel.tested", {"severity": "info", "title": "A test", "channel_id": "c"}, "", "https://c.example",
            "Acme", "On call")  # fmt: skip


def _certificate(folder: Path) -> Path:
    """A certificate for `localhost` that vouches for itself, with its key, in one file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    )  # fmt: skip
    file = folder / "localhost.pem"
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    file.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + made.public_bytes(pem))
    return file


@pytest.fixture
def receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int, list[Any]]]:
    """A receiver of webhooks over TLS on this machine, and what it heard: names of TLS, headers of requests."""
    heard: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(self.headers.get_all("host"))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Keeps the test's output clean."""

    file = _certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(file)
    tls.sni_callback = lambda _, name, __: heard.append(name)
    family, *_, where = socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)[0]  # ::1 on some machines
    server = type("Here", (HTTPServer,), {"address_family": family})(where[:2], Handler)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    trusted.cache_clear()
    try:
        yield f"[{where[0]}]" if family == socket.AF_INET6 else str(where[0]), server.server_port, heard
    finally:
        server.shutdown()
        server.server_close()
        trusted.cache_clear()


def test_a_receiver_is_called_by_its_name_and_port(
    receiver: tuple[str, int, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the address that its name was found to have; the certificate has to be the name's."""
    literal, port, heard = receiver
    secret = "whsec_" + "QUFB" * 11
    address = f"https://localhost:{port}/alerts"
    assert asyncio.run(send("webhook", address, [secret], TOLD)).outcome == "dead"
    assert heard == []  # this machine is private to it
    monkeypatch.setattr(egress, "public", lambda _: True)
    assert asyncio.run(send("webhook", address, [secret], TOLD)).outcome == "delivered"
    assert heard == ["localhost", [f"localhost:{port}"]]
    assert asyncio.run(send("webhook", f"https://{literal}:{port}/", [secret], TOLD)).outcome == "retry"
    assert heard[2:] == [None]  # an address is no name of TLS (RFC 6066 section 3), and none of this certificate


@pytest.mark.parametrize(
    ("url", "called", "authority"),
    [
        ("https://93.184.215.14/a", "https://93.184.215.14:443/a", "93.184.215.14"),
        ("https://93.184.215.14:443/a", "https://93.184.215.14:443/a", "93.184.215.14"),
        ("https://93.184.215.14:8443/a", "https://93.184.215.14:8443/a", "93.184.215.14:8443"),
        ("https://[2606:4700::1111]/a", "https://[2606:4700::1111]:443/a", "[2606:4700::1111]"),
        ("https://[2606:4700::1111]:8443/a", "https://[2606:4700::1111]:8443/a", "[2606:4700::1111]:8443"),
    ],
)
def test_a_port_is_said_where_it_is_not_the_schemes_own(url: str, called: str, authority: str) -> None:
    there = asyncio.run(egress.target(url))
    assert (there.url, there.headers) == (called, {"host": authority})
