"""TLS over the links.

The certificate is made of constants, and an Ed25519 signature has one size: so a handshake takes
the same bytes each time, and a point in the middle of it is found again.
"""

from __future__ import annotations

import datetime as dt
import os
import ssl
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final
from unittest import mock

import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from .faults import OTHER
from .links import Link, MemoryEnd

HOST: Final = "harness.test"
# Of a record: its type, and a tag of 16 bytes.
_SEALED: Final = 17


def _certificate() -> tuple[bytes, bytes]:
    """A key, and a certificate signed with it, in PEM."""
    key = Ed25519PrivateKey.from_private_bytes(b"of the tests alone".ljust(32))
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    usage = dict.fromkeys(
        (
            *("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
            *("crl_sign", "encipher_only", "decipher_only"),
        ),
        False,
    )
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(dt.datetime(2020, 1, 1))  # noqa: DTZ001
        .not_valid_after(dt.datetime(2120, 1, 1))  # noqa: DTZ001
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=True, **usage), critical=True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, None)
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return secret, certificate.public_bytes(Encoding.PEM)


@cache
def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The client's and the server's context, made once."""
    secret, certificate = _certificate()
    client = ssl.create_default_context(cadata=certificate.decode())
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "certificate.pem")
        path.write_bytes(secret + certificate)
        server.load_cert_chain(path)
    return client, server


@contextmanager
def decrypted_is_logged(links: list[Link]) -> Generator[None, None, None]:
    """Have each TLS stream over one of `links` log what it has decrypted, and what it encrypts."""
    send, receive = trio.SSLStream.send_all, trio.SSLStream.receive_some

    async def send_all(self: trio.SSLStream[Any], data: bytes | bytearray | memoryview) -> None:
        link, role = _place(links, self)
        link.written[role] += data
        await send(self, data)

    async def receive_some(
        self: trio.SSLStream[Any], max_bytes: int | None = None
    ) -> bytes | bytearray:
        data = await receive(self, max_bytes)
        link, role = _place(links, self)
        assert link.plain is not None
        link.plain[OTHER[role]] += data
        return data

    with (
        mock.patch.object(trio.SSLStream, "send_all", send_all),
        mock.patch.object(trio.SSLStream, "receive_some", receive_some),
    ):
        yield


def _place(links: list[Link], stream: trio.SSLStream[Any]) -> tuple[Link, str]:
    """Which end of which link is below, whatever the library has put between."""
    below = stream.transport_stream
    if isinstance(below, MemoryEnd):
        return below.link, below.role
    return next(
        (link, role)
        for link in reversed(links)
        for role, end in link.sockets.items()
        if end.socket is below.socket
    )


def arrived(link: Link, role: str) -> bytes:
    """Of what `role` has sent, what the other end's stream yields before it fails."""
    wire = bytes(link.pipes[role].log[: link.pipes[role].taken])
    if role in link.sockets:
        # Whoever closes a socket drops what it holds, and so does who has waited for too long, and
        # Windows when there was a reset.
        if link.fault.what in {"closed", "stall"} or os.name != "posix":
            return b"" if link.plain is None else link.log(role)
        return wire if link.plain is None else bytes(link.written[role][: decrypts_to(wire, role)])
    return wire if link.plain is None else link.log(role)


def decrypts_to(wire: bytes, role: str) -> int:
    """The bytes in the whole records of TLS 1.3 that follow the handshake."""
    position, size = _handshake_sizes()[role], 0
    while position + 5 <= len(wire):
        length = int.from_bytes(wire[position + 3 : position + 5], "big")
        position += 5 + length
        size += length - _SEALED if position <= len(wire) else 0
    return size


@cache
def _handshake_sizes() -> dict[str, int]:
    """The bytes that each end sends before what it has to say, session tickets included."""
    pipes = {"client": ssl.MemoryBIO(), "server": ssl.MemoryBIO()}
    client, server = tls_contexts()
    ends = {
        "client": client.wrap_bio(pipes["server"], pipes["client"], server_hostname=HOST),
        "server": server.wrap_bio(pipes["client"], pipes["server"], server_side=True),
    }
    sizes = dict.fromkeys(ends, 0)
    for role in ("client", "server", "client", "server"):
        before = pipes[role].pending
        with suppress(ssl.SSLWantReadError):
            ends[role].do_handshake()
        sizes[role] += pipes[role].pending - before
    return sizes
