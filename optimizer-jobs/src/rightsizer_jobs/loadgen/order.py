"""What a run is to send, as values that can be handed to another process, and how it is sent in this one.

Called by ``crew`` in the client's own process and by ``worker`` in each further one: the same code sends in both.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rightsizer_jobs.loadgen.client import complete
from rightsizer_jobs.loadgen.load import WHOLE, AskedTokens, Live, Run, Send, Turn, Watch, closed_loop, open_loop
from rightsizer_jobs.loadgen.records import Arrive, Exchange
from rightsizer_jobs.wire.session import Session


class Book(Protocol):
    """Request bodies of one workload for one engine."""

    def asked_tokens(self, index: int) -> int: ...

    def body(self, index: int, nonce: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Aim:
    """Where requests go, round robin, and what is in them. ``first``: the books' request that the run begins with.

    A request may take ``timeout_s``, and ``token_s`` more for each output token that it asks for.
    """

    urls: tuple[str, ...]
    books: tuple[Book, ...]
    nonce: int
    timeout_s: float
    first: int = 0
    token_s: float = 0.0

    def sender(self, session: Session) -> Send:
        """A ``send`` for one run."""

        async def send(index: int, arrive: Arrive) -> Exchange:
            turn = index % len(self.urls)
            number, book = self.first + index, self.books[turn]
            limit = self.timeout_s + self.token_s * book.asked_tokens(number) if self.token_s else self.timeout_s
            body = book.body(number, self.nonce)
            return await complete(session, self.urls[turn], body, timeout_s=limit, arrive=arrive)

        return send


@dataclass(frozen=True, slots=True)
class Open:
    """An open loop: ``load.open_loop``."""

    schedule: Sequence[int]
    ramp_s: float
    measured_s: float


@dataclass(frozen=True, slots=True)
class Closed:
    """A closed loop: ``load.closed_loop``."""

    concurrency: int
    seconds: float


Kind = Open | Closed


async def send(
    kind: Kind,
    sender: Send,
    *,
    asked_tokens: AskedTokens,
    watch: Watch,
    turn: Turn = WHOLE,
    answered: Callable[[Live], bool] = lambda live: live.due == 0,
) -> Run:
    """This process's turn of a run."""
    if isinstance(kind, Open):
        return await open_loop(
            sender,
            kind.schedule,
            ramp_s=kind.ramp_s,
            measured_s=kind.measured_s,
            asked_tokens=asked_tokens,
            watch=watch,
            turn=turn,
            answered=answered,
        )
    share = len(range(turn.number, kind.concurrency, turn.of))
    return await closed_loop(
        sender, concurrency=share, seconds=kind.seconds, asked_tokens=asked_tokens, watch=watch, turn=turn
    )


def now_ns() -> int:
    """The monotonic clock, which all processes of a machine share."""
    return time.monotonic_ns()
