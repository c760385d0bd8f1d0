"""picows, by its core API; with ``--uvloop`` on uvloop."""

from __future__ import annotations

from picows import (
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    ws_create_server,
)

from .common import HOST, MAX_SIZE, Options, announce, parse_options, run


class Echo(WSListener):  # type: ignore[misc,unused-ignore]  # Any where picows is not installed
    """Sends back whatever comes."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Handle one frame."""
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()
        else:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())


def listener(_request: WSUpgradeRequest) -> Echo:
    """Accept any request."""
    return Echo()


async def main(options: Options) -> None:
    """Serve until the process is killed."""
    server = await ws_create_server(listener, HOST, 0, ssl=options.context, max_frame_size=MAX_SIZE)
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


if __name__ == "__main__":
    run(main, parse_options())
