"""The replay engine over loopback: its API, its metrics, and tokens in the order and number that were asked for."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from e2e.replay.command import Setting, read
from e2e.replay.engine import Engine
from e2e.replay.recordings import load
from e2e.replay.server import Server
from rightsizer_jobs.contract import Endpoint
from rightsizer_jobs.engines import connect
from rightsizer_jobs.loadgen.client import complete
from rightsizer_jobs.loadgen.prompts import PromptBook
from rightsizer_jobs.wire.session import Session

CURVES = load()
ENVIRON = {"RIGHTSIZER_REPLAY_GPU": "h200_sxm", "RIGHTSIZER_REPLAY_TIME_SCALE": "200"}
MODEL = "meta-llama/Llama-3.1-70B"
BOOK = PromptBook.draw(served_model_name="chat", input_tokens=64, output_tokens=40, vocabulary=1000, seed=1)


def vllm(*words: str) -> Setting:
    return read("VLLM", (MODEL, "-q", "fp8", "--served-model-name", "chat", *words), CURVES, ENVIRON)


def trtllm(*words: str) -> Setting:
    # The recorded checkpoint is FP8, which a directory's config.json says; here the setting does.
    plain = read("VLLM", (MODEL, "-q", "fp8", "--served-model-name", "chat", *words), CURVES, ENVIRON)
    return replace(plain, served=replace(plain.served, engine="TensorRTLLM"), prometheus=True)


@asynccontextmanager
async def served(setting: Setting) -> AsyncIterator[tuple[Server, str]]:
    server = Server(Engine(replace(setting, host="127.0.0.1", port=0), dict(CURVES[setting.served])))
    port = await server.start()
    try:
        yield server, f"http://127.0.0.1:{port}"
    finally:
        await server.stop()


def play(setting: Setting, scene: Callable[[Server, str], Awaitable[None]]) -> None:
    async def run() -> None:
        async with served(setting) as (server, url):
            await scene(server, url)

    asyncio.run(run())


async def until(so: Callable[[], bool]) -> None:
    while not so():  # noqa: ASYNC110 another task makes it so
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(("setting", "engine"), [(vllm(), "VLLM"), (trtllm(), "TensorRTLLM")])
def test_a_trial_finds_it_ready_and_reads_its_metrics(setting: Setting, engine: str) -> None:
    async def scene(server: Server, url: str) -> None:
        async with Session() as session:
            client = connect(
                session, Endpoint.model_validate({"engine": engine, "base_url": url, "served_model_name": "chat"})
            )
            assert (await client.health()).ready
            exchange = await complete(session, client.completions_url, BOOK.body(0, 1), timeout_s=20)
            assert (exchange.failure, exchange.output_tokens, exchange.prompt_tokens) == ("", 40, 64)
            sample = await client.sample()
            assert sample.finished == 1
            assert sample.kv_usage == 0
            if engine == "VLLM":
                assert sample.process_start == pytest.approx(server.started)
                assert (sample.running, sample.waiting, sample.preemptions) == (0, 0, 0)

    play(setting, scene)


@pytest.mark.parametrize(("interval", "chunks"), [(1, 40), (16, 4)])
def test_a_stream_has_a_chunk_for_the_first_token_and_then_for_every_interval(interval: int, chunks: int) -> None:
    async def scene(_server: Server, url: str) -> None:
        async with Session() as session:
            exchange = await complete(session, f"{url}/v1/completions", BOOK.body(0, 1), timeout_s=20)
            assert len(exchange.chunks_ns) == chunks

    play(replace(vllm(), interval=interval), scene)


def test_it_takes_as_long_as_recorded_or_longer() -> None:
    setting = vllm()
    curve = CURVES[setting.served][min(CURVES[setting.served])]

    async def scene(_server: Server, url: str) -> None:
        async with Session() as session:
            exchange = await complete(session, f"{url}/v1/completions", BOOK.body(0, 1), timeout_s=20)
            waited = (exchange.chunks_ns[0] - exchange.sent_ns) / 1e6
            decoded = (exchange.chunks_ns[-1] - exchange.chunks_ns[0]) / 1e6
            assert waited >= curve.ttft_at(1) / setting.time_scale * 0.99
            assert waited + decoded >= (curve.ttft_at(1) + 39 * curve.tpot_at(1)) / setting.time_scale * 0.99

    play(setting, scene)


def test_models_say_that_answers_are_replayed() -> None:
    async def scene(_server: Server, url: str) -> None:
        async with Session() as session:
            (model,) = json.loads((await session.get(f"{url}/v1/models", timeout_s=20)).text)["data"]
            assert model["id"] == "chat"
            assert "recorded latencies of meta-llama/Llama-3.1-70B" in model["replayed"]
            assert "200 times as fast" in model["replayed"]

    play(vllm(), scene)


def test_a_question_has_the_same_answer_on_both_engines() -> None:
    async def ask(url: str) -> dict[str, float]:
        body = {"model": "chat", "prompt": "2 + 2 is", "max_tokens": 1, "temperature": 0, "logprobs": 20}
        async with Session() as session:
            answer = await session.post(f"{url}/v1/completions", json.dumps(body).encode(), timeout_s=20)
            found: dict[str, float] = json.loads(answer.text)["choices"][0]["logprobs"]["top_logprobs"][0]
            return found

    async def run() -> tuple[dict[str, float], dict[str, float]]:
        async with served(vllm()) as (_, one), served(trtllm()) as (_, other):
            return await ask(one), await ask(other)

    one, other = asyncio.run(run())
    assert one == other
    assert set(one) == set("ABCD")


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b'{"model": "other", "prompt": [1], "max_tokens": 2}', 404, "does not exist"),
        (b"not json", 400, "no completion request"),
        (b'{"model": "chat"}', 400, "no completion request"),
        (b'{"model": "chat", "prompt": "x", "max_tokens": 0}', 400, "max_tokens"),
    ],
)
def test_a_bad_request_is_told_so(body: bytes, status: int, told: str) -> None:
    async def scene(_server: Server, url: str) -> None:
        async with Session() as session:
            answer = await session.post(f"{url}/v1/completions", body, timeout_s=20)
            assert answer.status == status
            assert told in json.loads(answer.text)["error"]["message"]

    play(vllm(), scene)


def test_a_client_that_goes_away_frees_its_place() -> None:
    async def scene(server: Server, url: str) -> None:
        body = b'{"model": "chat", "prompt": [1], "max_tokens": 100000, "stream": true}'
        async with Session() as session:
            task = asyncio.create_task(complete(session, f"{url}/v1/completions", body, timeout_s=60))
            await until(lambda: server.engine.running == 1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await until(lambda: server.engine.running == 0)

    play(vllm(), scene)


def test_a_client_that_goes_away_while_it_waits_leaves_the_queue_at_once() -> None:
    async def scene(server: Server, url: str) -> None:
        body = b'{"model": "chat", "prompt": [1], "max_tokens": 100000, "stream": true}'
        async with Session() as session:
            tasks = [
                asyncio.create_task(complete(session, f"{url}/v1/completions", body, timeout_s=60)) for _ in range(3)
            ]
            await until(lambda: server.engine.waiting == 2)
            for task in tasks[1:]:
                task.cancel()
            await until(lambda: server.engine.waiting == 0)
            assert server.engine.running == 1
            tasks[0].cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    play(replace(vllm(), batch_limit=1), scene)


def test_a_process_that_is_told_to_end_does_so_as_pid_1_would_have_to(tmp_path: Path) -> None:
    """By a handler of its own, which the exit code tells: without one the first process of a container goes on."""
    (tmp_path / "config.json").write_text(
        json.dumps({"_name_or_path": MODEL, "quantization_config": {"quant_method": "fp8"}})
    )
    words = ("vllm", "serve", str(tmp_path), "--host", "127.0.0.1", "--port", "0")
    with subprocess.Popen(
        [sys.executable, "-m", "e2e.replay.server", *words],
        env={**os.environ, **ENVIRON},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert "no GPU is used" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
