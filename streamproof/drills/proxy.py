"""A TCP proxy whose connections can be cut: the faults of a network, on one machine."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Self

_CHUNK = 64 * 1024


class Proxy:
    """Forwards connections from a port of its own, on loopback, to another address, in a thread of its own.

    Attributes:
        port: where it listens.

    Args:
        host, port: where connections go.

    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._is_held = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._forward, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Break all connections; new ones are let through."""
        self._run(self._cut())

    def hold(self) -> None:
        """Break all connections, and let none through until ``release``."""
        self._is_held = True
        self.cut()

    def release(self) -> None:
        """Let connections through again."""
        self._is_held = False

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - whatever the work returns
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _close(self) -> None:
        self._server.close()
        await self._cut()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = {writer}
        try:
            if not self._is_held:
                there, back = await asyncio.open_connection(*self._target)
                writers.add(back)
                self._writers |= writers
                await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))
        except OSError:
            pass  # one side is gone, so the other one goes as well
        finally:
            self._writers -= writers
            for each in writers:
                each.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    raise ConnectionResetError  # MQTT has no half-closed connections: the other direction ends, too
