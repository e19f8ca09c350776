"""No probe lives off the prefix cache of an earlier one, on the real engine and by its own counters.

The load client's own prompts, with a nonce each probe, against one pod of the target; nothing of the target is changed.
Prefix caching is on in vLLM unless it is switched off: the counters are asked first.
"""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.scenarios.scene import Scene
from e2e.stage import objects
from e2e.stage.setting import ready_replicas
from rightsizer_jobs.contract import Endpoint
from rightsizer_jobs.engines import connect
from rightsizer_jobs.engines.engine import Engine
from rightsizer_jobs.loadgen.client import complete
from rightsizer_jobs.loadgen.prompts import PromptBook, vocabulary_size
from rightsizer_jobs.loadgen.sequence import Replayed, sequence
from rightsizer_jobs.loadgen.trace_files import read_trace
from rightsizer_jobs.wire.session import Session
from rightsizer_jobs.workload import TraceFile, Workload

pytestmark = pytest.mark.timeout(1200)

REQUESTS = 8
SHARED, PROMPT = 512, 768
"""Tokens that every request of the trace shares, and tokens of a whole prompt."""
PATIENCE_S = 120.0
CACHE_BLOCK = 128
"""vLLM's CPU build has blocks of up to so many tokens: what is shared may end a block early."""


@dataclass(frozen=True, slots=True)
class Cached:
    """Prompt tokens that the engine looked up in its prefix cache, and those it found."""

    looked_up: float
    found: float

    def __sub__(self, earlier: "Cached") -> "Cached":
        return Cached(self.looked_up - earlier.looked_up, self.found - earlier.found)


async def cached(engine: Engine) -> Cached:
    sample = await engine.sample()
    assert sample.prefix_queries is not None and sample.prefix_hits is not None, "the engine counts no prefix hits"
    return Cached(sample.prefix_queries, sample.prefix_hits)


def shared_trace(folder: Path) -> Path:
    """Requests that share their first block id, as a Mooncake trace has them."""
    rows = [
        {"timestamp": 250 * n, "input_length": PROMPT, "output_length": 2, "hash_ids": [7, 100 + n]}
        for n in range(REQUESTS)
    ]
    path = folder / "shared.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


@pytest.fixture
def address(stage: Scene) -> str:
    """One pod of the target; a target that does not serve yet is applied."""
    if ready_replicas(stage.kubectl) < 1:
        stage.serve()
    pods = stage.kubectl.list("pods", objects.NAMESPACE, f"app={objects.TARGET}")
    ready = [pod for pod in pods if all(one["ready"] for one in pod["status"].get("containerStatuses", [{"ready": 0}]))]
    return f"http://{ready[0]['status']['podIP']}:{objects.ENGINE_PORT}"


async def probes(address: str, book: PromptBook, nonces: tuple[int, ...]) -> list[Cached]:
    """What the engine's cache did in each probe: the same requests, one after the other, with the probe's nonce."""
    async with Session() as session:
        engine = connect(session, Endpoint(engine="VLLM", base_url=address, served_model_name=objects.TARGET))
        found = []
        for nonce in nonces:
            before = await cached(engine)
            for index in range(REQUESTS):
                exchange = await complete(
                    session, engine.completions_url, book.body(index, nonce), timeout_s=PATIENCE_S
                )
                assert not exchange.failure
                assert exchange.prompt_tokens == book.requests.ask(index).input_tokens
            await asyncio.sleep(1.5)  # the engine publishes its counters once a second
            found.append(await cached(engine) - before)
        return found


def book_of(stage: Scene, workload: Workload, folder: Path | None = None) -> PromptBook:
    requests = sequence(workload, 1)
    if folder is not None:
        requests = Replayed(read_trace(TraceFile(path=str(shared_trace(folder))), 1), 0)
    vocabulary = vocabulary_size(str(stage.place.models / "base"))
    return PromptBook.of(requests, served_model_name=objects.TARGET, vocabulary=vocabulary, seed=1)


LONG = Workload(input_tokens=PROMPT, output_tokens=2)


def test_the_engine_serves_a_repeated_probe_from_its_cache_so_the_counters_tell(stage: Scene, address: str) -> None:
    first, again = asyncio.run(probes(address, book_of(stage, LONG), (11, 11)))
    stage.say(f"prefix cache: {first} and, the same nonce again, {again}")
    assert first.looked_up >= REQUESTS * PROMPT
    assert again.found >= REQUESTS * (PROMPT - 2 * CACHE_BLOCK)


def test_a_second_probe_finds_nothing_of_the_first(stage: Scene, address: str) -> None:
    first, second = asyncio.run(probes(address, book_of(stage, LONG), (21, 22)))
    stage.say(f"prefix cache: {first} and, another nonce, {second}")
    assert second.looked_up >= REQUESTS * PROMPT
    assert (first.found, second.found) == (0, 0)


def test_sharing_within_a_probe_survives_and_none_of_it_outlives_the_probe(
    stage: Scene, address: str, tmp_path: Path
) -> None:
    first, second = asyncio.run(probes(address, book_of(stage, LONG, tmp_path), (31, 32)))
    stage.say(f"prefix cache: {first} and, another nonce, {second}")
    least, most = (REQUESTS - 1) * (SHARED - CACHE_BLOCK), (REQUESTS - 1) * SHARED
    for found in (first, second):
        assert least <= found.found <= most
