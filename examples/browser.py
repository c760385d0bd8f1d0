"""A page that talks to the server it came from."""

import trio

import trio_ws
from examples.shout_server import shout

# begin
PAGE = b"""<!doctype html>
<title>shout</title>
<input id="say" autofocus> <p id="heard"></p>
<script>
  const websocket = new WebSocket(location.href.replace(/^http/, "ws"));
  websocket.onmessage = (event) => { heard.textContent = event.data; };
  say.onchange = () => { websocket.send(say.value); };
</script>
"""


async def answer(request: trio_ws.HTTPRequest) -> trio_ws.HTTPResponse:
    """Answer ordinary HTTP requests: the page, a health check, nothing else."""
    if request.path == "/":
        return trio_ws.HTTPResponse(200, [("Content-Type", "text/html")], PAGE)
    if request.path == "/health":
        return trio_ws.HTTPResponse(200, body=b"fine\n")
    return trio_ws.HTTPResponse(404)


async def main(
    port: int = 8765,
    *,
    task_status: trio.TaskStatus[trio_ws.WebSocketServer] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the page and the WebSocket behind it on one port."""
    await trio_ws.serve_websocket(
        shout, "127.0.0.1", port, None, http_handler=answer, task_status=task_status
    )


# end
if __name__ == "__main__":
    trio.run(main)
