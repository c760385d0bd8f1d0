"""Basic authentication of programs."""

import base64

import trio_ws


# begin
async def guarded(request: trio_ws.WebSocketRequest) -> None:
    """Let only those in who know the password."""
    if not trio_ws.check_basic_auth(request.headers, "alice", "secret"):
        challenge = [("WWW-Authenticate", 'Basic realm="chat"')]
        await request.reject(401, extra_headers=challenge, body=b"who are you?")
        return
    async with await request.accept() as websocket:
        await websocket.send("welcome")


async def main(url: str, username: str, password: str) -> None:
    """Connect with a name and a password."""
    token = base64.b64encode(f"{username}:{password}".encode()).decode()
    headers = [("Authorization", f"Basic {token}")]
    try:
        async with trio_ws.open_websocket_url(url, extra_headers=headers) as websocket:
            print(await websocket.receive())
    except trio_ws.ConnectionRejected as error:
        print(error.status_code, error.body)


# end
