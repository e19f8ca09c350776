"""One of several client processes: ``python -m rightsizer_jobs.loadgen.worker``, started and stopped by ``crew``.

It is told on standard input what to send, tells its counts several times a second on standard output, and at last its
records. The crew decides when the run ends; a closed standard input ends it too.
"""

import asyncio
import os
import pickle
import sys
from typing import Any

import uvloop

from rightsizer_jobs.loadgen.health import Watchman
from rightsizer_jobs.loadgen.load import Live, Turn
from rightsizer_jobs.loadgen.order import Aim, Kind, send
from rightsizer_jobs.wire.session import Session

TELL_EVERY_S = 0.05
LENGTH = 8
"""Bytes of a message's length, before the message."""

GONE = "the client itself has ended"


def packed(message: object) -> bytes:
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return len(data).to_bytes(LENGTH, "big") + data


async def received(reader: asyncio.StreamReader) -> Any:
    """The next message; raises asyncio.IncompleteReadError at the end. Both ends are this program."""
    size = int.from_bytes(await reader.readexactly(LENGTH), "big")
    return pickle.loads(await reader.readexactly(size))  # noqa: S301


class Ear:
    """What the crew has said since the run began: why it must stop, and that every counted request has its answer."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self.stop = ""
        self.answered = False

    async def listen(self) -> None:
        try:
            while True:
                said = await received(self._reader)
                self.stop, self.answered = said.get("stop", self.stop), said.get("answered", self.answered)
        except asyncio.IncompleteReadError:
            self.stop = GONE


class Mouth:
    """Tells the counts of the run in progress."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.live: Live | None = None

    def say(self, **message: object) -> None:
        data = packed(message)
        while data:
            data = data[os.write(self._descriptor, data) :]

    async def tell(self) -> None:
        while True:
            if self.live is not None:
                self.say(live=self.live)
            await asyncio.sleep(TELL_EVERY_S)


async def work() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    mouth, ear = Mouth(sys.stdout.fileno()), Ear(reader)
    aim: Aim
    kind: Kind
    turn: Turn
    aim, kind = await received(reader)
    mouth.say(ready=True)
    turn = await received(reader)

    def watch(live: Live) -> str:
        mouth.live = live
        return ear.stop

    listening, telling = asyncio.create_task(ear.listen()), asyncio.create_task(mouth.tell())
    async with Session() as session, Watchman() as watchman:
        run = await send(
            kind, aim.sender(session), asked_tokens=lambda _: 0, watch=watch, turn=turn, answered=lambda _: ear.answered
        )
    for task in (listening, telling):
        task.cancel()
    mouth.say(run=run, lags_ms=tuple(watchman.loop_lags_ms))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work())
