"""What zlib takes for the messages of the compression row, with trio_ws's parameters."""

from __future__ import annotations

import zlib
from itertools import cycle

import trio_ws

from .frames import TAIL, compressed, texts
from .meter import Meter, answer, questions


def run(meter: Meter, size: int, count: int) -> None:
    """Inflate and compress one message after the other, as an echo has to."""
    options = trio_ws.PerMessageDeflate()
    bits = options.server_max_window_bits
    deflater = zlib.compressobj(options.level, zlib.DEFLATED, -bits, options.mem_level)
    inflater = zlib.decompressobj(-options.client_max_window_bits)
    for message in cycle([compressed(text) + TAIL for text in texts(size, count)]):
        text = inflater.decompress(message)
        deflater.compress(text) + deflater.flush(zlib.Z_SYNC_FLUSH)
        if not meter.running():
            return


def main() -> None:
    """Answer what is asked until the input ends."""
    for question in questions():
        meter = Meter(question["warmup"], question["seconds"])
        run(meter, question["size"], question["texts"])
        answer(meter.result)


if __name__ == "__main__":
    main()
