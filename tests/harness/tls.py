"""TLS over the links in memory.

The certificate is made of constants, and an Ed25519 signature has one size: so a handshake takes
the same bytes each time, and a point in the middle of it is found again.
"""

from __future__ import annotations

import datetime as dt
import ssl
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from .links import MemoryEnd

HOST: Final = "harness.test"


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
def decrypted_is_logged() -> Generator[None, None, None]:
    """Have each TLS stream over a `MemoryEnd` log what it has decrypted."""
    original = trio.SSLStream.receive_some

    async def receive_some(
        self: trio.SSLStream[Any], max_bytes: int | None = None
    ) -> bytes | bytearray:
        data = await original(self, max_bytes)
        end = self.transport_stream
        if isinstance(end, MemoryEnd):
            assert end.link.plain is not None
            end.link.plain["server" if end.role == "client" else "client"] += data
        return data

    trio.SSLStream.receive_some = receive_some  # type: ignore[method-assign]
    try:
        yield
    finally:
        trio.SSLStream.receive_some = original  # type: ignore[method-assign]
