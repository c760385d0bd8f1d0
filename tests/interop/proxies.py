"""nginx and HAProxy as reverse proxies, configured as their manuals say for WebSockets."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.interop.processes import Peer
from tests.support.requirements import require_program

HOST = "127.0.0.1"

# https://nginx.org/en/docs/http/websocket.html
_NGINX = """
daemon off;
user {user};
worker_processes 1;
pid {directory}/pid;
error_log stderr notice;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    map $http_upgrade $connection_upgrade {{
        default upgrade;
        '' close;
    }}
    server {{
        listen {host}:{port}{tls};
        location / {{
            proxy_pass {target};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_ssl_trusted_certificate {ca};
            proxy_ssl_verify on;
            proxy_ssl_name localhost;
        }}
    }}
}}
"""

# https://docs.haproxy.org/2.6/configuration.html: an upgraded connection becomes a tunnel
_HAPROXY = """
global
    maxconn 256
defaults
    mode http
    timeout connect 10s
    timeout client 30s
    timeout server 30s
    timeout tunnel 1h
frontend front
    bind fd@{fd}{tls}
    option forwardfor
    default_backend back
backend back
    server peer {target}
"""


@dataclass(frozen=True)
class Backend:
    """Where a proxy leads to."""

    address: str  # host:port, or the path of a unix socket
    hop: str  # tcp, tls or unix
    ca: Path  # who signed the certificate of a tls backend


def require_proxy(name: str) -> str:
    """The program's path; skip or fail if it is missing."""
    return require_program(name, f"/usr/sbin/{name}")  # not everybody's PATH has that directory


def _listen() -> socket.socket:
    """A listening socket for the proxy to inherit: its port is free, and known before it runs."""
    listener = socket.create_server((HOST, 0))
    listener.setblocking(False)  # nginx expects that of a socket that it has not made
    listener.set_inheritable(True)
    return listener


@contextmanager
def nginx(directory: Path, certificate: Path | None, backend: Backend) -> Iterator[int]:
    """Run nginx in front of `backend`, with TLS if there is a certificate; yields its port."""
    program = require_proxy("nginx")
    target = {
        "tcp": f"http://{backend.address}",
        "tls": f"https://{backend.address}",
        "unix": f"http://unix:{backend.address}:",
    }[backend.hop]
    tls = ""
    if certificate is not None:
        tls = f" ssl; ssl_certificate {certificate}; ssl_certificate_key {certificate}"
    with _listen() as listener:
        port = listener.getsockname()[1]
        text = _NGINX.format(
            directory=directory,
            user=getpass.getuser(),
            host=HOST,
            port=port,
            tls=tls,
            target=target,
            ca=backend.ca,
        )
        config = directory / "nginx.conf"
        config.write_text(text)
        command = [program, "-e", "stderr", "-p", str(directory), "-c", str(config)]
        # The variable by which nginx hands its sockets over to a new nginx.
        inherited = {"NGINX": f"{listener.fileno()};"}
        with Peer(command, pass_fds=[listener.fileno()], env=inherited) as peer:
            peer.wait_for_error("start worker process ")
            yield port


@contextmanager
def haproxy(directory: Path, certificate: Path | None, backend: Backend) -> Iterator[int]:
    """Run HAProxy in front of `backend`, with TLS if there is a certificate; yields its port."""
    program = require_proxy("haproxy")
    target = {
        "tcp": backend.address,
        "tls": f"{backend.address} ssl verify required ca-file {backend.ca}",
        "unix": f"unix@{backend.address}",
    }[backend.hop]
    with _listen() as listener:
        tls = f" ssl crt {certificate}" if certificate is not None else ""
        config = directory / "haproxy.cfg"
        config.write_text(_HAPROXY.format(fd=listener.fileno(), tls=tls, target=target))
        with Peer([program, "-db", "-f", str(config)], pass_fds=[listener.fileno()]):
            yield listener.getsockname()[1]


Proxy = Callable[[Path, Path | None, Backend], AbstractContextManager[int]]
PROXIES: dict[str, Proxy] = {"nginx": nginx, "haproxy": haproxy}
