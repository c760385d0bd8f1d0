"""The README's first screen works as it stands."""

import contextlib
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers import reserved_port

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SERVER, CLIENT = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
COMMANDS = re.findall(r"^```sh\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("program", [SERVER, CLIENT], ids=["server", "client"])
def test_a_program_has_ten_lines(program: str) -> None:
    """Each program has at most ten lines of code."""
    assert len([line for line in program.splitlines() if line.strip()]) <= 10


def test_the_two_commands() -> None:
    """The first screen has two commands: the demo and the tests."""
    demo, tests = COMMANDS
    assert demo == "pip install . && python -m trio_ws demo\n"
    assert tests == "pip install -e '.[test]' && pytest\n"


def wait_until_it_listens(process: subprocess.Popen[str], port: int) -> None:
    """Try to connect until it works; the server also has to bear a peer that just leaves."""
    while process.poll() is None:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
    raise AssertionError(process.communicate())


@pytest.mark.skipif(sys.platform == "win32", reason="interrupts the server by a POSIX signal")
def test_the_client_talks_to_the_server() -> None:
    """Both programs run, as they stand but for the number of the port, and talk to each other."""
    python = [sys.executable, "-W", "error", "-c"]
    pipe = subprocess.PIPE
    with reserved_port(to_listen=True) as port:
        programs = [program.replace("8765", str(port)) for program in (SERVER, CLIENT)]
        with subprocess.Popen(
            [*python, programs[0]], cwd=ROOT, stdout=pipe, stderr=pipe, text=True
        ) as server:
            try:
                wait_until_it_listens(server, port)
                client = subprocess.run(
                    [*python, programs[1]], cwd=ROOT, capture_output=True, text=True, check=False
                )
            finally:
                server.send_signal(signal.SIGINT)
            _, errors = server.communicate()
    assert (client.stdout, client.stderr, client.returncode) == ("HELLO\n", "", 0)
    assert "KeyboardInterrupt" in errors  # in the groups of nurseries
