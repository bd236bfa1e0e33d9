"""Calls the API of docs/from_neon.md as an ASGI server does: call_api.py FOLDER, with api.py in it.
Reads tokens by name and prints, by name, the status and the body of GET /posts, as JSON."""

import asyncio
import json
import sys

sys.path.insert(0, sys.argv[1])
import api


async def get(token):
    headers = [(b"host", b"localhost")] + ([(b"authorization", f"Bearer {token}".encode())] if token else [])
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/posts",
        "raw_path": b"/posts",
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    await api.app(scope, receive, send)
    return [sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent[1:]))]


async def main():
    print(json.dumps({name: await get(token) for name, token in json.load(sys.stdin).items()}))


asyncio.run(main())
api.pool.close()
