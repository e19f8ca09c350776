"""A server that knows the truth: paces tokens on absolute deadlines and logs when it wrote each of them.

Run by ``client_accuracy`` as a process of its own; prints its port. The first token comes 50 ms after a request's last
byte, then one each 10 ms. POST /v1/completions streams; GET /log gives the log and clears it.
Plain asyncio on purpose: its transports send within ``write``, so that the stamp is that of the send.
"""

import argparse
import asyncio
import heapq
import json
import os
import time
from dataclasses import dataclass, field

FIRST_NS, STEP_NS = 50_000_000, 10_000_000
SPIN_NS = 1_500_000
START = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(payload: bytes) -> bytes:
    event = b"data: " + payload + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(event), event)


TOKEN = chunk(
    b'{"id":"cmpl-8f14e45fceea167a5a36dedd4bea2543","object":"text_completion","created":1764000000,"model":"m",'
    b'"choices":[{"index":0,"text":" token","logprobs":null,"finish_reason":null,"stop_reason":null}],"usage":null}'
)


@dataclass(order=True, slots=True)
class Stream:
    """One answer under way; ordered by when its next token is due."""

    due_ns: int
    connection: "Connection" = field(compare=False)
    key: str = field(compare=False)
    left: int = field(compare=False)
    prompt_tokens: int = field(compare=False)
    truth: list[int] = field(compare=False)
    """The arrival of the request's last byte, then each token's write; nanoseconds of the monotonic clock."""


class Truth:
    """All streams under way in the order of their deadlines, and the log of those that ended."""

    def __init__(self) -> None:
        self.log: dict[str, list[int]] = {}
        self.due: list[Stream] = []
        self.woken = asyncio.Event()

    async def pace(self) -> None:
        while True:
            if not self.due:
                self.woken.clear()
                await self.woken.wait()
            left = self.due[0].due_ns - time.monotonic_ns()
            if left <= 0:
                self.write(heapq.heappop(self.due))
            else:
                await asyncio.sleep((left - SPIN_NS) / 1e9 if left > SPIN_NS else 0)

    def write(self, stream: Stream) -> None:
        transport = stream.connection.transport
        if transport.is_closing():
            return
        stream.truth.append(time.monotonic_ns())
        stream.left -= 1
        if stream.left:
            transport.write(TOKEN)
            stream.due_ns += STEP_NS
            heapq.heappush(self.due, stream)
            return
        tokens = len(stream.truth) - 1
        usage = b'{"id":"x","choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}}' % (
            stream.prompt_tokens, tokens, stream.prompt_tokens + tokens,
        )  # fmt: skip
        transport.write(TOKEN + chunk(usage) + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        self.log[stream.key] = stream.truth


class Connection(asyncio.Protocol):
    """HTTP/1.1 just enough: one request at a time on a kept connection."""

    def __init__(self, truth: Truth) -> None:
        self.truth, self.buffer = truth, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        headers = {name: value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
        if not found or len(body) < int(headers.get(b"content-length", 0)):
            return
        self.buffer = b""
        if head.startswith(b"GET"):
            self.tell(head)
        else:
            self.begin(now, json.loads(body), headers.get(b"x-request-id", b"").decode())

    def tell(self, head: bytes) -> None:
        answer: object = {"object": "list", "data": [{"id": "m"}]}
        if head.startswith(b"GET /log"):
            answer, self.truth.log = self.truth.log, {}
        text = json.dumps(answer).encode()
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)
        )

    def begin(self, now: int, body: dict, request_id: str) -> None:
        """The key of a request is its X-Request-ID, else the first four tokens of its prompt."""
        tokens = int(body.get("max_tokens") or body.get("max_completion_tokens") or 1)
        prompt = body.get("prompt")
        key = request_id or "/".join(str(token) for token in prompt[:4])
        self.transport.write(START)
        stream = Stream(
            now + FIRST_NS, self, key, tokens, len(prompt) if isinstance(prompt, list) else 1, [now],
        )  # fmt: skip
        heapq.heappush(self.truth.due, stream)
        self.truth.woken.set()


async def serve() -> None:
    truth = Truth()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(truth), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await truth.pace()


def pin(core: int) -> None:
    """Onto one core, where there is more than one."""
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {core})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--core", type=int, default=0)
    pin(parser.parse_args().core)
    asyncio.run(serve())
