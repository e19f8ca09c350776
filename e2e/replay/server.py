"""The replay engine over HTTP: what vLLM's and TensorRT-LLM's servers document, as far as a trial uses it.

``python3 -m e2e.replay.server vllm serve MODEL …`` and ``… trtllm-serve MODEL …``: the image starts it under the
engines' own names. ``/v1/models`` says that answers are replayed; whoever measures must say so, too.
"""

import asyncio
import contextlib
import json
import selectors
import signal
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from e2e.replay.command import EngineKind, Refused, Setting, read
from e2e.replay.engine import Engine
from e2e.replay.recordings import BadRecordings, load

JSON = "application/json"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
LETTERS = "ABCD"
MOST_BODY = 64 << 20
PROGRAMS: dict[str, EngineKind] = {"vllm": "VLLM", "trtllm-serve": "TensorRTLLM"}


class Rejected(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Reader(asyncio.StreamReader):
    """Says at once that the client is gone: requests that wait in the queue write nothing that could fail."""

    def __init__(self) -> None:
        super().__init__(limit=1 << 20)
        self.gone = asyncio.Event()

    def feed_eof(self) -> None:
        super().feed_eof()
        self.gone.set()


@dataclass(slots=True)
class Server:
    """One engine's API. ``started``: seconds of the wall clock, as Prometheus clients publish it."""

    engine: Engine
    started: float = field(default_factory=time.time)
    _server: asyncio.Server | None = field(default=None, repr=False)

    @property
    def setting(self) -> Setting:
        return self.engine.setting

    async def start(self) -> int:
        """Listen; the port, also where 0 asked for any."""
        loop, connection = asyncio.get_running_loop(), self._connection
        self._server = await loop.create_server(
            lambda: asyncio.StreamReaderProtocol(Reader(), connection), self.setting.host, self.setting.port
        )
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(reader, Reader)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader: Reader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; False: the client is gone."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, _, rest = head[0].partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        length = int(headers.get("content-length", "0"))
        body = await reader.readexactly(length) if 0 < length <= MOST_BODY else b""
        try:
            if (method, path) == ("POST", "/v1/completions"):
                await self._complete(_asked(body, self.setting), reader, writer)
            elif method == "GET" and (page := self._pages().get(path)) is not None:
                kind, text = page()
                _send(writer, 200, kind, text)
            else:
                raise Rejected(404, f"{method} {path}: not found")
        except Rejected as rejected:
            problem = {"message": str(rejected), "type": "invalid_request_error", "code": rejected.status}
            _send(writer, rejected.status, JSON, json.dumps({"error": problem}))
        await writer.drain()
        return headers.get("connection", "").lower() != "close"

    def _pages(self) -> dict[str, Callable[[], tuple[str, str]]]:
        pages = {"/health": lambda: (JSON, ""), "/v1/models": self._models, "/version": self._version}
        if self.setting.served.engine == "VLLM":
            return {**pages, "/metrics": self._vllm_metrics}
        pages["/metrics"] = self._iterations
        return {**pages, "/prometheus/metrics": self._tensorrt_llm_metrics} if self.setting.prometheus else pages

    def _models(self) -> tuple[str, str]:
        model = {
            "id": self.setting.name,
            "object": "model",
            "created": int(self.started),
            "owned_by": "rightsizer-replay",
            "replayed": self.setting.statement,
        }
        return JSON, json.dumps({"object": "list", "data": [model]})

    def _version(self) -> tuple[str, str]:
        return JSON, json.dumps({"version": "replay"})

    def _vllm_metrics(self) -> tuple[str, str]:
        label = f'{{engine="0",model_name="{self.setting.name}"}}'
        done = f'{{engine="0",finished_reason="length",model_name="{self.setting.name}"}}'
        counters = self.engine.counters
        return TEXT, _exposition({
            "process_start_time_seconds": self.started,
            f"vllm:num_requests_running{label}": self.engine.running,
            f"vllm:num_requests_waiting{label}": self.engine.waiting,
            f"vllm:kv_cache_usage_perc{label}": self.engine.running / self.engine.most,
            f"vllm:num_preemptions_total{label}": 0,
            f"vllm:prefix_cache_queries_total{label}": counters.prompt_tokens,
            f"vllm:prefix_cache_hits_total{label}": 0,
            f"vllm:prompt_tokens_total{label}": counters.prompt_tokens,
            f"vllm:generation_tokens_total{label}": counters.output_tokens,
            f"vllm:request_success_total{done}": counters.finished,
        })  # fmt: skip

    def _tensorrt_llm_metrics(self) -> tuple[str, str]:
        label = f'{{engine_type="pytorch",model_name="{self.setting.name}"}}'
        return TEXT, _exposition({
            f"trtllm_request_success_total{label}": self.engine.counters.finished,
            f"trtllm_kv_cache_hit_rate{label}": 0,
            f"trtllm_kv_cache_utilization{label}": self.engine.running / self.engine.most,
        })  # fmt: skip

    def _iterations(self) -> tuple[str, str]:
        """A queue of iteration statistics that a reader consumes; empty unless ``enable_iter_perf_stats`` is set."""
        if not self.setting.iteration_stats:
            return JSON, "[]"
        counted = {"numActiveRequests": self.engine.running, "numQueuedRequests": self.engine.waiting}
        return JSON, json.dumps([{"iter": self.engine.counters.output_tokens, **counted}])

    async def _complete(self, asked: "Asked", reader: Reader, writer: asyncio.StreamWriter) -> None:
        """The whole answer; a client that goes away frees its place at once, raising ConnectionResetError."""
        answering = asyncio.create_task(self._stream(asked, writer) if asked.stream else self._whole(asked, writer))
        gone = asyncio.create_task(reader.gone.wait())
        try:
            await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                raise ConnectionResetError
            answering.result()
        finally:
            for task in (answering, gone):
                task.cancel()
            await asyncio.gather(answering, gone, return_exceptions=True)

    async def _whole(self, asked: "Asked", writer: asyncio.StreamWriter) -> None:
        async with contextlib.aclosing(self.engine.generate(asked.prompt_tokens, asked.tokens)) as chunks:
            async for _ in chunks:
                pass
        choice = {"index": 0, "text": _text(asked, asked.tokens), "finish_reason": "length"}
        if asked.logprobs:
            choice["logprobs"] = {"top_logprobs": [_likely(asked)]}
        _send(writer, 200, JSON, json.dumps(self._answer([choice], usage=asked)))

    async def _stream(self, asked: "Asked", writer: asyncio.StreamWriter) -> None:
        writer.write(_head(200, "text/event-stream; charset=utf-8", "Transfer-Encoding: chunked"))
        left = asked.tokens
        async with contextlib.aclosing(self.engine.generate(asked.prompt_tokens, asked.tokens)) as chunks:
            async for added in chunks:
                left -= added
                end = None if left else "length"
                choice = {"index": 0, "text": _text(asked, added), "logprobs": None, "finish_reason": end}
                _event(writer, json.dumps(self._answer([choice])))
        if asked.usage:
            _event(writer, json.dumps(self._answer([], usage=asked)))
        _event(writer, "[DONE]")
        writer.write(b"0\r\n\r\n")

    def _answer(self, choices: list[dict[str, Any]], usage: "Asked | None" = None) -> dict[str, Any]:
        found = {
            "id": "cmpl-replay",
            "object": "text_completion",
            "created": int(self.started),
            "model": self.setting.name,
        }
        counts = {} if usage is None else {"usage": usage.counts()}
        return {**found, "choices": choices, **counts}


@dataclass(frozen=True, slots=True)
class Asked:
    """A completion request, as far as it matters here. ``seed``: a digest of its prompt."""

    prompt_tokens: int
    tokens: int
    stream: bool
    usage: bool
    logprobs: bool
    seed: int

    def counts(self) -> dict[str, int]:
        total = self.prompt_tokens + self.tokens
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.tokens, "total_tokens": total}


def _asked(body: bytes, setting: Setting) -> Asked:
    try:
        found = json.loads(body)
        prompt, tokens = found["prompt"], int(found.get("max_tokens", 16))
    except (ValueError, KeyError, TypeError) as error:
        raise Rejected(400, f"the body is no completion request: {type(error).__name__} {error}") from error
    if found.get("model") != setting.name:
        raise Rejected(404, f"The model `{found.get('model')}` does not exist.")
    if tokens < 1:
        raise Rejected(400, f"max_tokens must be at least 1, got {tokens}.")
    # Text has no tokenizer here: four characters count as a token.
    length = len(prompt) if isinstance(prompt, list) else -(-len(str(prompt)) // 4)
    return Asked(
        prompt_tokens=max(1, length),
        tokens=tokens,
        stream=bool(found.get("stream")),
        usage=bool((found.get("stream_options") or {}).get("include_usage")),
        logprobs=bool(found.get("logprobs")),
        seed=zlib.crc32(json.dumps(prompt).encode()) if not found.get("stream") else 0,
    )


def _likely(asked: Asked) -> dict[str, float]:
    """One letter by the prompt, the same on every engine: no model answers here, so nothing is right or wrong."""
    best = LETTERS[asked.seed % len(LETTERS)]
    return {letter: -0.1 if letter == best else -3.0 for letter in LETTERS}


def _text(asked: Asked, tokens: int) -> str:
    return LETTERS[asked.seed % len(LETTERS)] if asked.logprobs else " replayed" * tokens


def _exposition(samples: dict[str, float]) -> str:
    return "".join(f"{name} {value:.15g}\n" for name, value in samples.items())


def _head(status: int, kind: str, framing: str) -> bytes:
    reason = {200: "OK", 400: "Bad Request", 404: "Not Found"}.get(status, "Error")
    return f"HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\n{framing}\r\n\r\n".encode()


def _send(writer: asyncio.StreamWriter, status: int, kind: str, text: str) -> None:
    data = text.encode()
    writer.write(_head(status, kind, f"Content-Length: {len(data)}") + data)


def _event(writer: asyncio.StreamWriter, text: str) -> None:
    data = f"data: {text}\n\n".encode()
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))


async def _serve(setting: Setting) -> None:
    server = Server(Engine(setting, dict(load()[setting.served])))
    port = await server.start()
    told_to_end = asyncio.Event()
    # The first process of a container ignores signals that it does not handle: a pod would take its whole grace period.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told_to_end.set)
    print(f"replay: {setting.statement}; no GPU is used; serving {setting.name} on {setting.host}:{port}", flush=True)
    await told_to_end.wait()


def precise_loop() -> asyncio.AbstractEventLoop:
    """A loop whose timers are exact to microseconds: epoll's are a millisecond coarse."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


def main(words: Sequence[str] | None = None) -> int:
    program, *rest = sys.argv[1:] if words is None else words
    try:
        setting = read(PROGRAMS[program], rest[1:] if program == "vllm" and rest[:1] == ["serve"] else rest, load())
    except (Refused, BadRecordings) as error:
        print(f"replay: error: {error}", file=sys.stderr, flush=True)
        return 1
    with asyncio.Runner(loop_factory=precise_loop) as runner:
        runner.run(_serve(setting))
    return 0


if __name__ == "__main__":
    sys.exit(main())
