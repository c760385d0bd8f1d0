"""What the clients share: they are asked for work, do it, and answer what it took."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Coroutine
from typing import NamedTuple

import trio

from benchmarks.frames import payload_of
from benchmarks.meter import Meter, answer, questions


class Task(NamedTuple):
    """What a client is to do.

    Args:
        url: the server.
        work: ``echo``: round trips on one connection; ``connect``: connect and close.
        payload: the message.
        meter: says when to go on; asked after each round trip or connection.
    """

    url: str
    work: str
    payload: bytes
    meter: Meter


Client = Callable[[Task], Coroutine[object, object, None]]


def answer_questions(run: Callable[[Task], None]) -> None:
    """Do what is asked until the input ends."""
    for question in questions():
        meter = Meter(question["warmup"], question["seconds"])
        url = f"ws://127.0.0.1:{question['port']}/"
        run(Task(url, question["work"], payload_of(question["size"]), meter))
        answer(meter.result)


def main_trio(client: Client) -> None:
    """Run a client on Trio."""
    answer_questions(lambda task: trio.run(client, task))


def main_asyncio(client: Client) -> None:
    """Run a client on asyncio; with ``--uvloop`` on uvloop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--uvloop", action="store_true")
    factory = None
    if parser.parse_args().uvloop:
        import uvloop

        factory = uvloop.new_event_loop

    def run(task: Task) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(client(task))

    answer_questions(run)
