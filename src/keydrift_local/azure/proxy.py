"""A CONNECT proxy that leads every known Azure host name to the local TLS server.

A name that Azure's DNS would not resolve (an unknown HSM, say) is answered 502: to a client, the host cannot be reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_CHUNK = 65_536


class ConnectProxy:
    """Runs inside the server's event loop."""

    def __init__(self, target_port: int, resolves: Callable[[str], bool]) -> None:
        self._target_port = target_port
        self._resolves = resolves
        self._tunnels: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen on a free loopback port and return it."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening and cut the tunnels."""
        assert self._server is not None
        self._server.close()
        for tunnel in tuple(self._tunnels):
            tunnel.cancel()
        await asyncio.gather(*self._tunnels, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tunnels.add(task)
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # either side may hang up at any time; cancelling is how the proxy stops
        finally:
            self._tunnels.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n", 1)[0].decode("latin-1").split()
        if len(head) != 3 or head[0] != "CONNECT":
            return await _refuse(writer, "405 Method Not Allowed")
        if not self._resolves(head[1].rsplit(":", 1)[0].lower()):
            return await _refuse(writer, "502 Bad Gateway")
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        try:
            writer.write(b"HTTP/1.1 200 Connection Established\r\n\r\n")
            await writer.drain()
            await asyncio.gather(_pump(reader, up_writer), _pump(up_reader, writer))
        finally:
            up_writer.close()
        return None


async def _refuse(writer: asyncio.StreamWriter, status: str) -> None:
    writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
    await writer.drain()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    finally:
        writer.close()
