"""The least that an exchange over HTTP can be: `python -m benchmarks.serving.bare` says its port and answers forms.

Starlette and uvicorn as Deputize's own server has them, and the raw cryptography of one exchange: nothing is parsed,
checked, decided or kept.
"""

import socket

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.serving.client import HOST
from benchmarks.workplace import raw_exchange

ANSWER = b"x" * 1200  # bytes: an access token and what stands around it


def main() -> None:
    exchange = raw_exchange()

    async def token(request: Request) -> Response:
        await request.body()
        exchange()
        return Response(ANSWER, media_type="application/json")

    app = Starlette(routes=[Route("/token", token, methods=["POST"])])
    listening = socket.create_server((HOST, 0))
    print(listening.getsockname()[1], flush=True)
    config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False, loop="uvloop", ws="none")
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
