"""The conditions of a run: what somebody needs to know who reads its figures."""

from __future__ import annotations

import os
import platform
import ssl
import sys
import zlib
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from .processes import CORES

PACKAGES: Final = (
    "trio",
    "h11",
    "trio-websocket",
    "wsproto",
    "websockets",
    "aiohttp",
    "picows",
    "uvloop",
)


def cpu_model() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def versions() -> str:
    """The versions of all libraries that take part."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


def extension() -> str:
    """Whether trio_ws runs with its extension in C, unless that is switched off."""
    import trio_ws  # noqa: F401

    modules = [module for name, module in sys.modules.items() if name.startswith("trio_ws.")]
    compiled = [each for each in modules if not str(each.__file__).endswith(".py")]
    return "with its extension in C" if compiled else "WITHOUT its extension in C"


def load_average() -> str:
    """How busy the machine is."""
    return ", ".join(f"{value:.2f}" for value in os.getloadavg())


def conditions(rounds: int, seconds: float, warmup: float) -> dict[str, str]:
    """What is known before the run."""
    from trio_ws import __version__

    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{cpu_model()}, {len(CORES)} cores, {platform.machine()}",
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}, "
        f"{ssl.OPENSSL_VERSION}, zlib {zlib.ZLIB_RUNTIME_VERSION}",
        "libraries": f"trio_ws {__version__} {extension()}, {versions()}",
        "rounds": f"{rounds} in turns, {seconds:g} s each after {warmup:g} s of warm-up; "
        "figures are medians",
        "load average before": load_average(),
    }
