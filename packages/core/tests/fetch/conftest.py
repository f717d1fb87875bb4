"""Hosts on the loopback that answer as a test says, over http and over https with a CA of their own."""

import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@dataclass
class Host:
    """One listening socket; `answer` is written, byte for byte, to whoever connects."""

    answer: bytes | Callable[[socket.socket], None] = OK
    heard: list[bytes] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    port: int = 0

    def serve(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(5)
                if tls is None:
                    self.reply(connection)
                else:
                    with tls.wrap_socket(connection, server_side=True) as wrapped:
                        self.reply(wrapped)

    def reply(self, connection: socket.socket) -> None:
        self.heard.append(connection.recv(65_536))
        if isinstance(self.answer, bytes):
            connection.sendall(self.answer)
        else:
            self.answer(connection)


@contextlib.contextmanager
def running(host: Host, tls: ssl.SSLContext | None = None) -> Iterator[Host]:
    listener = socket.create_server(("127.0.0.1", 0))
    host.port = listener.getsockname()[1]
    thread = threading.Thread(target=host.serve, args=(listener, tls), daemon=True)
    thread.start()
    try:
        yield host
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(timeout=10)


@pytest.fixture
def host() -> Iterator[Host]:
    with running(Host()) as found:
        yield found


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: Any) -> tuple[Path, Path]:
    """(CA, chain with key) for idp.example and 127.0.0.1."""
    folder = tmp_path_factory.mktemp("certificates")
    now = dt.datetime.now(dt.UTC)

    def made(name: str, issuer: Any, key: Any, signer: Any, *, ca: bool) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        alternatives = [x509.DNSName("idp.example"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        usage = x509.KeyUsage(True, False, False, False, False, ca, ca, False, False)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
            .sign(signer, hashes.SHA256())
        )

    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = made("root", None, root_key, root_key, ca=True)
    leaf = made("leaf", root.subject, key, root_key, ca=False)
    pem = serialization.Encoding.PEM
    ca, chain = folder / "ca.pem", folder / "chain.pem"
    ca.write_bytes(root.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    chain.write_bytes(private + leaf.public_bytes(pem))
    return ca, chain


@pytest.fixture
def tls_host(certificates: Any) -> Iterator[Host]:
    host = Host()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates[1])
    context.sni_callback = lambda _, name, __: host.names.append(name)
    with running(host, context) as found:
        yield found
