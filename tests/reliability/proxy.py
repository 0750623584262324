"""A proxy for one edge of a cluster, which delays, narrows, pauses, cuts and resets what it passes on."""
import asyncio
import dataclasses
import random
import socket
import struct
import threading


@dataclasses.dataclass
class Weather:
    """What happens to the bytes of one direction of a connection. Nothing by default."""
    delay: float = 0.0           # seconds
    jitter: float = 0.0          # seconds more, at random
    bytes_a_second: float = 0.0  # 0: no limit
    cut_after: tuple = ()        # (at least, at most) bytes, after which the connection is cut
    reset: bool = True           # cut with a reset; else as if closed in an orderly way
    pause_after: tuple = ()      # (at least, at most) bytes, after which nothing passes for `pause` seconds, once
    pause: float = 0.0


class Proxy:
    """Listens at `port` and passes connections on, in a thread of its own."""

    def __init__(self, weather=None, seed=0):
        self._weather, self._random = weather or Weather(), random.Random(seed)
        self._target, self._pairs, self.faults = None, set(), 0
        self._held = {"forward": False, "backward": False}
        self._socket = socket.create_server(("localhost", 0), backlog=128)
        self.port = self._socket.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def lead_to(self, port):
        """From now on connections go there; those to another place are reset."""
        def change():
            self._target = port
            for pair in list(self._pairs):
                _reset(*pair)
        self._loop.call_soon_threadsafe(change)

    def hold(self, forward=False, backward=False):
        """From now on keeps back what comes in these directions (and in no others): bytes wait, as when packets get lost."""
        self._held = {"forward": forward, "backward": backward}

    def clear(self):
        """From now on nothing happens to what is passed on."""
        self._weather = Weather()

    def close(self):
        def end():
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.call_soon(self._loop.stop)
        self._loop.call_soon_threadsafe(end)
        self._thread.join(10)
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def _serve(self):
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(asyncio.start_server(self._connect, sock=self._socket))
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    async def _connect(self, reader, writer):
        pair = (writer,)
        try:
            there_reader, there_writer = await asyncio.open_connection("localhost", self._target)
            pair = (writer, there_writer)
            self._pairs.add(pair)
            await asyncio.gather(self._pass_on(reader, there_writer, pair, "forward"),
                                 self._pass_on(there_reader, writer, pair, "backward"))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._pairs.discard(pair)
            _reset(*pair)

    async def _pass_on(self, reader, writer, pair, direction):
        weather = self._weather
        cut = self._random.randint(*weather.cut_after) if weather.cut_after else None
        pause = self._random.randint(*weather.pause_after) if weather.pause_after else None
        passed = 0
        while True:
            data = await reader.read(1 << 16)
            if not data:
                break
            while self._held[direction]:
                await asyncio.sleep(0.02)
            if self._weather is not weather:
                cut = pause = None
                weather = self._weather
            if weather.delay or weather.jitter:
                self.faults += 1
                await asyncio.sleep(weather.delay + weather.jitter * self._random.random())
            if weather.bytes_a_second:
                await asyncio.sleep(len(data) / weather.bytes_a_second)
            if cut is not None and passed + len(data) >= cut:
                writer.write(data[:cut - passed])  # the rest of a frame never comes
                self.faults += 1
                if weather.reset:
                    await writer.drain()
                    _reset(*pair)
                    return
                break
            if pause is not None and passed + len(data) >= pause:
                self.faults += 1
                pause = None
                await asyncio.sleep(weather.pause)
            passed += len(data)
            writer.write(data)
            await writer.drain()
        for one in pair:
            one.close()


def _reset(*writers):
    for writer in writers:
        sock = writer.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except OSError:
                pass
        writer.transport.abort()
