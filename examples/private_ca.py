"""TLS with certificates of one's own authority, on both sides."""

import ssl
from functools import partial

import trio

import trio_ws
from examples.shout_server import shout


# begin
def server_context(chain: str, key: str, authority: str) -> ssl.SSLContext:
    """Show a certificate, and ask the clients for theirs."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority)
    context.load_cert_chain(chain, key)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(chain: str, key: str, authority: str) -> ssl.SSLContext:
    """Trust the authority, and nobody else; show the client's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority)
    context.load_cert_chain(chain, key)
    return context


async def main(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    """Talk over TLS; server_hostname is the certificate's name if the host's is another one."""
    async with trio.open_nursery() as nursery:
        serve = partial(trio_ws.serve_websocket, shout, "127.0.0.1", 0, server)
        running: trio_ws.WebSocketServer = await nursery.start(serve)
        url = f"wss://127.0.0.1:{running.port}/"
        async with trio_ws.open_websocket_url(
            url, client, server_hostname="chat.example"
        ) as websocket:
            await websocket.send("hello")
            print(await websocket.receive())
        nursery.cancel_scope.cancel()


# end
