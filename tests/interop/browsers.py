"""Starting headless browsers on a page, in a fresh profile, without any traffic of their own."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.interop.processes import Peer
from tests.support.requirements import require_program

PROGRAMS = {"chromium": ("chromium", "chromium-browser"), "firefox": ("firefox-esr", "firefox")}

_CHROMIUM = """
--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run
--no-default-browser-check --disable-background-networking --disable-component-update
--disable-default-apps --disable-domain-reliability --disable-extensions --disable-sync
--disable-breakpad --metrics-recording-only --no-pings --no-proxy-server --password-store=basic
"""

# None of the services that Firefox talks to on its own; and for what is not switched off by its
# preference, a proxy that is not there, which it does not use for this host.
_FIREFOX: dict[str, bool | int | str] = {
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "browser.aboutConfig.showWarning": False,
    "browser.region.network.url": "",
    "browser.safebrowsing.downloads.remote.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.search.update": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "browser.startup.page": 0,
    "captivedetect.canonicalURL": "",
    "datareporting.healthreport.uploadEnabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "dom.push.connection.enabled": False,
    "extensions.getAddons.cache.enabled": False,
    "extensions.update.enabled": False,
    "geo.provider.network.url": "",
    "media.gmp-manager.updateEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.dns.disablePrefetch": True,
    "network.http.speculative-parallel-limit": 0,
    "network.prefetch-next": False,
    "network.proxy.allow_bypass": False,
    "network.proxy.failover_direct": False,
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 9,
    "network.proxy.type": 1,
    "network.trr.mode": 5,
    "toolkit.telemetry.enabled": False,
    "toolkit.telemetry.server": "",
}


def _firefox_profile(profile: Path, trusted: Path, ports: list[int]) -> None:
    lines = []
    for name, value in _FIREFOX.items():
        text = f'"{value}"' if isinstance(value, str) else str(value).lower()
        lines.append(f'user_pref("{name}", {text});\n')
    (profile / "user.js").write_text("".join(lines))
    # What "Accept the risk and continue" writes: the certificate's digest, per host and port.
    der = ssl.PEM_cert_to_DER_cert(_first_certificate(trusted))
    digest = hashlib.sha256(der).hexdigest().upper()
    colons = ":".join(digest[index : index + 2] for index in range(0, len(digest), 2))
    overrides = [
        f"{host}:{port}:\tOID.2.16.840.1.101.3.4.2.1\t{colons}\t\n"
        for port in ports
        for host in ("127.0.0.1", "localhost")
    ]
    (profile / "cert_override.txt").write_text("".join(overrides))


def _first_certificate(pem: Path) -> str:
    start, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    text = pem.read_text()
    first = text.index(start)
    return text[first : text.index(end) + len(end)]


def require_browser(name: str) -> str:
    """The program's path; skip or fail if it is missing."""
    return require_program(*PROGRAMS[name])


@contextmanager
def open_page(
    browser: str, url: str, directory: Path, trusted: Path, ports: list[int]
) -> Iterator[Peer]:
    """Run a browser that shows `url` and trusts the certificate at those ports of this host."""
    program = require_browser(browser)
    profile = directory / "profile"
    profile.mkdir(parents=True)
    if browser == "chromium":
        rules = "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
        options = [f"--user-data-dir={profile}", f"--host-resolver-rules={rules}"]
        # Safe, as nothing but this machine can be reached.
        options.append("--ignore-certificate-errors")
        command = [program, *_CHROMIUM.split(), *options, url]
    else:
        _firefox_profile(profile, trusted, ports)
        command = [program, "--headless", "--no-remote", "--profile", str(profile), url]
    with Peer(command, env={"HOME": str(directory), "MOZ_CRASHREPORTER_DISABLE": "1"}) as peer:
        yield peer
