"""A certificate authority for the tests, and contexts that trust it."""

import ssl
from functools import cache

import trio
import trio.testing
import trustme

from tests.support.servers import Peer


@cache
def authority() -> trustme.CA:
    """The one authority of the test run."""
    return trustme.CA()


@cache
def server_context(*names: str, require_client: bool = False) -> ssl.SSLContext:
    """A server's context, with a certificate for these names and addresses."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority().issue_cert(*names).configure_cert(context)
    if require_client:
        context.verify_mode = ssl.CERT_REQUIRED
        authority().configure_trust(context)
    return context


def client_context(*, certificate: str | None = None) -> ssl.SSLContext:
    """A client's context that trusts the authority; with a client certificate if asked."""
    context = ssl.create_default_context()
    authority().configure_trust(context)
    if certificate is not None:
        authority().issue_cert(certificate).configure_cert(context)
    return context


def tls_peer(stream: trio.abc.Stream, context: ssl.SSLContext) -> Peer:
    """The raw server's end of TLS over a stream."""
    return Peer(trio.SSLStream(stream, context, server_side=True, https_compatible=True))
