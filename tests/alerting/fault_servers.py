"""Real SMTP and HTTP servers on 127.0.0.1 with faults to switch on, and certificates for them."""

import datetime as dt
import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def certificate(folder: Path, *, days: int) -> Path:
    """A self-signed certificate of 127.0.0.1 with its key, valid for so many days (or expired)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=30))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(names), False)
        .add_extension(x509.BasicConstraints(True, 0), True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / f"certificate{days}.pem"
    path.write_bytes(made.public_bytes(pem) + private)
    return path


def server_context(path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


class HttpServer:
    """What it received, and how it answers: status, headers, body, seconds before, raw bytes."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        self.status, self.headers, self.body = 200, {}, b"ok"
        self.delay, self.drip, self.raw = 0.0, 0.0, b""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.received.append((self.path, dict(self.headers), content))
                time.sleep(outer.delay)
                if outer.raw:
                    self.wfile.write(outer.raw)
                    return
                self.send_response(outer.status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                for byte in outer.body if outer.drip else ():
                    self.wfile.write(bytes([byte]))
                    time.sleep(outer.drip)
                if not outer.drip:
                    self.wfile.write(outer.body)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None
        self.scheme = "https" if context else "http"
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server.server_port}/hook/T0KEN-SECRET"

    def json(self, number: int = -1) -> Any:
        return json.loads(self.received[number][2])


@contextmanager
def http_server(context: ssl.SSLContext | None = None) -> Iterator[HttpServer]:
    found = HttpServer(context)
    thread = threading.Thread(target=found.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.server.shutdown()
        found.server.server_close()


class MailServer:
    """Keeps what arrives; `answers` says what to answer to a command instead (rcpt, data)."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, list[str], bytes]] = []
        self.answers: dict[str, str] = {}
        self.delay = 0.0
        self.port = 0

    async def handle_RCPT(self, server, session, envelope, address, options) -> str:
        if "rcpt" in self.answers:
            return self.answers["rcpt"]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope) -> str:
        import asyncio

        await asyncio.sleep(self.delay)
        if "data" in self.answers:
            return self.answers["data"]
        self.messages.append((envelope.mail_from, list(envelope.rcpt_tos), envelope.content))
        return f"250 2.0.0 Ok: queued as Q{len(self.messages):04d}"

    def authenticate(self, server, session, envelope, mechanism, data) -> AuthResult:
        return AuthResult(success=data.password == b"right-passw0rd", handled=False)


@contextmanager
def mail_server(
    certificate_path: Path | None = None, *, is_implicit: bool = False
) -> Iterator[MailServer]:
    """A server with STARTTLS and log-in where it has a certificate, or TLS from the start."""
    handler = MailServer()
    context = server_context(certificate_path) if certificate_path else None
    options: dict[str, Any] = {"hostname": "127.0.0.1", "port": _free_port()}
    if context and is_implicit:
        options["ssl_context"] = context
    if context and not is_implicit:
        options.update(
            tls_context=context, authenticator=handler.authenticate, require_starttls=True
        )

    class Own(Controller):
        def factory(self) -> SMTP:
            return SMTP(self.handler, **self.SMTP_kwargs)

        def _trigger_server(self) -> None:
            """A TLS server with an expired certificate cannot be tried from here."""
            with socket.create_connection((self.hostname, self.port), timeout=2):
                pass

    controller = Own(handler, **options)
    controller.start()
    handler.port = controller.port
    try:
        yield handler
    finally:
        controller.stop()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


free_port = _free_port
