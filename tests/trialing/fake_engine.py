"""An OpenAI-compatible engine with known behaviour: a queue, so many slots, exact pacing, and faults on request.

Capacity is known: slots / (prefill + (tokens - 1) x step). Runs in the test's event loop, or alone:
``python fake_engine.py --port 8000``.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class Behaviour:
    served_model_name: str = "m"
    prefill_s: float = 0.040
    step_s: float = 0.010
    slots: int = 2
    tokens_per_chunk: int = 1
    ready_after: int = 0
    """Health answers 503 so many times before it answers 200."""
    hang: bool = False
    """Healthy, but no request is ever answered."""
    fail_every: int = 0
    """Every so many completions is answered with HTTP 500."""
    crash_after: int = 0
    """The server goes away at this completion."""
    restart_after: int = 0
    """The process start time changes at this completion."""
    break_stream_every: int = 0
    """Every so many streams ends after its first chunk."""
    resets: int = 0
    """So many streams end with a reset after their first chunk, once ``reset_after`` are served."""
    reset_after: int = 0
    output_tokens: int | None = None
    """Ignores max_tokens and gives so many."""
    likely: Callable[[object], dict[str, float]] | None = None
    """Prompt of a question -> its likeliest tokens."""
    publish_metrics: bool = True
    replayed: str = ""
    """What /v1/models says it replays."""
    tokens_per_word: int = 1
    """Of a chat, whose template adds ``template_tokens``."""
    template_tokens: int = 0
    slow_down_after: int = 0
    slow_factor: float = 1.0


class Reset(Exception):
    """This stream is to end with a reset."""


@dataclass
class FakeEngine:
    behaviour: Behaviour = field(default_factory=Behaviour)
    completions: int = 0
    running: int = 0
    waiting: int = 0
    prompts: list[object] = field(default_factory=list)
    chats: list[int] = field(default_factory=list)
    """Prompt tokens of each chat."""
    served: list[tuple[float, float, float]] = field(default_factory=list)
    """Per finished stream, on the server's monotonic clock: arrival, first token, last token."""

    async def start(self, port: int = 0) -> str:
        self.slots = asyncio.Semaphore(self.behaviour.slots)
        app = web.Application(client_max_size=64 << 20)
        app.router.add_get("/health", self.health)
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/prometheus/metrics", self.metrics)
        app.router.add_post("/v1/completions", self.complete)
        app.router.add_post("/v1/chat/completions", self.complete)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01, handler_cancellation=True)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", port).start()
        self.base_url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"
        return self.base_url

    async def stop(self) -> None:
        await self.runner.cleanup()

    async def health(self, request: web.Request) -> web.Response:
        if self.behaviour.ready_after > 0:
            self.behaviour.ready_after -= 1
            return web.Response(status=503)
        return web.Response()

    async def models(self, request: web.Request) -> web.Response:
        model = {"id": self.behaviour.served_model_name}
        replayed = {"replayed": self.behaviour.replayed} if self.behaviour.replayed else {}
        return web.json_response({"data": [model | replayed]})

    async def metrics(self, request: web.Request) -> web.Response:
        if not self.behaviour.publish_metrics:
            return web.Response(status=404)
        restarted = 0 < self.behaviour.restart_after <= self.completions
        return web.Response(
            text="# TYPE process_start_time_seconds gauge\n"
            f"process_start_time_seconds {2000.0 if restarted else 1000.0}\n"
            f'vllm:num_requests_running{{engine="0",model_name="m"}} {float(self.running)}\n'
            f'vllm:num_requests_waiting{{engine="0",model_name="m"}} {float(self.waiting)}\n'
            'vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25\n'
            f'vllm:request_success_total{{engine="0",finished_reason="length"}} {float(len(self.served))}\n'
        )

    async def complete(self, request: web.Request) -> web.StreamResponse:
        arrived = time.monotonic()
        body = await request.json()
        self.completions += 1
        if self.behaviour.crash_after and self.completions >= self.behaviour.crash_after:
            asyncio.get_running_loop().create_task(self.stop())
            await asyncio.sleep(3600)
        if self.behaviour.hang:
            await asyncio.sleep(3600)
        if self.behaviour.fail_every and self.completions % self.behaviour.fail_every == 0:
            return web.json_response({"error": {"message": "out of luck"}}, status=500)
        if not body.get("stream"):
            return self.score(body)
        if "messages" in body:
            words = len(body["messages"][0]["content"].split(" "))
            self.chats.append(self.behaviour.template_tokens + self.behaviour.tokens_per_word * words)
            body["prompt"] = [0] * self.chats[-1]
        else:
            self.prompts.append(body["prompt"])
        return await self.stream(request, body, arrived)

    def score(self, body: dict[str, object]) -> web.Response:
        likely = self.behaviour.likely(body["prompt"]) if self.behaviour.likely else {"A": -0.1}
        return web.json_response({"choices": [{"text": "A", "logprobs": {"top_logprobs": [likely]}}]})

    async def stream(self, request: web.Request, body: dict[str, object], arrived: float) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        try:
            await response.prepare(request)
        except ConnectionResetError:  # the client has left
            return response
        self.waiting += 1
        try:
            await self.slots.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        try:
            return await self.decode(response, body, arrived)
        except ConnectionResetError:  # the client has left
            return response
        except Reset:
            assert request.transport is not None
            request.transport.abort()
            return response
        finally:
            self.running -= 1
            self.slots.release()

    async def decode(self, response: web.StreamResponse, body: dict[str, object], arrived: float) -> web.StreamResponse:
        behaviour = self.behaviour
        asked = behaviour.output_tokens or int(str(body["max_tokens"]))
        slow = behaviour.slow_factor if 0 < behaviour.slow_down_after <= self.completions else 1.0
        due = time.monotonic() + behaviour.prefill_s * slow
        first = last = 0.0
        if "messages" in body:
            await response.write(event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}))
        for token in range(0, asked, behaviour.tokens_per_chunk):
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            count = min(behaviour.tokens_per_chunk, asked - token)
            said = {"delta": {"content": " tok" * count}} if "messages" in body else {"text": " tok" * count}
            await response.write(event({"choices": [{"index": 0, **said}], "usage": None}))
            last = time.monotonic()
            first = first or last
            due += behaviour.step_s * slow * behaviour.tokens_per_chunk
            if behaviour.resets > 0 and len(self.served) >= behaviour.reset_after:
                behaviour.resets -= 1
                raise Reset
            if behaviour.break_stream_every and self.completions % behaviour.break_stream_every == 0:
                return response
        prompt = body["prompt"]
        usage = {"prompt_tokens": len(prompt) if isinstance(prompt, list) else 1, "completion_tokens": asked}
        await response.write(event({"choices": [], "usage": usage}) + b"data: [DONE]\n\n")
        self.served.append((arrived, first, last))
        return response


def event(payload: dict[str, object]) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


async def serve_alone(port: int, behaviour: Behaviour) -> None:
    engine = FakeEngine(behaviour)
    sys.stdout.write(await engine.start(port) + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--hang", action="store_true")
    given = parser.parse_args()
    asyncio.run(serve_alone(given.port, Behaviour(hang=given.hang)))
