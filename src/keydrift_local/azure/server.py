"""The web servers of the simulated tenant, all on loopback, all in one daemon thread with its own event loop."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from aiohttp import web

from keydrift_local.azure.messages import Answer, Call
from keydrift_local.azure.proxy import ConnectProxy

_LARGEST_BODY = 64 * 1024 * 1024
_STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the servers listen."""

    proxy: int
    identity: int


class Server:
    """Starts and stops the CONNECT proxy, the TLS server behind it and the identity endpoint.

    `azure` and `identity` answer calls on the server's thread; `resolves` says which host names exist; `latency_s` gives the
    seconds to sleep before a host's answer.
    """

    def __init__(
        self,
        *,
        azure: Callable[[Call], Answer],
        identity: Callable[[Call], Answer],
        resolves: Callable[[str], bool],
        latency_s: Callable[[str], float],
        tls: ssl.SSLContext,
    ) -> None:
        self._azure = azure
        self._identity = identity
        self._resolves = resolves
        self._latency_s = latency_s
        self._tls = tls
        self._ready: Future[Ports] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="local-azure", daemon=True)

    def start(self) -> Ports:
        """Start listening; returns once every port is open. Raises OSError."""
        self._thread.start()
        return self._ready.result()

    def stop(self) -> None:
        """Close every connection and end the thread."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(_STOP_S)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        tls_runner, tls_port = await self._listen(self._azure, self._tls)
        identity_runner, identity_port = await self._listen(self._identity, None)
        proxy = ConnectProxy(tls_port, self._resolves)
        self._ready.set_result(Ports(await proxy.start(), identity_port))
        await self._stopping.wait()
        await proxy.stop()
        await tls_runner.cleanup()
        await identity_runner.cleanup()

    async def _listen(self, answer: Callable[[Call], Answer], tls: ssl.SSLContext | None) -> tuple[web.AppRunner, int]:
        async def handle(request: web.Request) -> web.StreamResponse:
            call = await _call(request)
            delay = self._latency_s(call.host)
            if delay:
                await asyncio.sleep(delay)
            return _response(request, answer(call))

        app = web.Application(client_max_size=_LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", handle)
        # The bodies stay as they were sent: the ingestion limits concern both the compressed and the uncompressed size.
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, auto_decompress=False)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        return runner, int(runner.addresses[0][1])


async def _call(request: web.Request) -> Call:
    raw_path, _, raw_query = request.raw_path.partition("?")
    headers: Mapping[str, str] = {name.lower(): value for name, value in request.headers.items()}
    return Call(
        method=request.method,
        host=request.host.rsplit(":", 1)[0].lower(),
        path=unquote(raw_path),
        query=dict(parse_qsl(raw_query, keep_blank_values=True)),
        headers=headers,
        body=await request.read(),
    )


def _response(request: web.Request, answer: Answer) -> web.StreamResponse:
    if answer.status == 0:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()
    if answer.body is None:
        return web.Response(status=answer.status, headers=answer.headers)
    body = json.dumps(answer.body).encode()
    return web.Response(status=answer.status, headers=answer.headers, body=body, content_type="application/json", charset="utf-8")
