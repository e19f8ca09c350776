"""The bench a trial is measured on: session, engines, prompts and records file.

Made by ``run``; steps use it and decide nothing here.
"""

import asyncio
import contextlib
import logging
import zlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from rightsizer_jobs.contract import Endpoint, TrialAssignment
from rightsizer_jobs.engines import connect
from rightsizer_jobs.engines.beside import Seen
from rightsizer_jobs.engines.engine import Engine
from rightsizer_jobs.engines.nvml import Gpus
from rightsizer_jobs.loadgen.chat import ChatBook
from rightsizer_jobs.loadgen.crew import WorkerDied, cpus_here, processes_for, run_with
from rightsizer_jobs.loadgen.load import Run, Send, Watch
from rightsizer_jobs.loadgen.order import Aim, Kind
from rightsizer_jobs.loadgen.prompts import PromptBook, vocabulary_size
from rightsizer_jobs.loadgen.records import Record, append_records
from rightsizer_jobs.loadgen.sequence import Sequence, sequence
from rightsizer_jobs.loadgen.trace_files import read_trace
from rightsizer_jobs.quality.questions import Questions
from rightsizer_jobs.trial.findings import Findings, Stop
from rightsizer_jobs.trial.use import Moment, Observed
from rightsizer_jobs.wire.session import Session

LOG = logging.getLogger(__name__)
SAMPLE_EVERY_S = 1.0


@dataclass(slots=True)
class Bench:
    """``runs`` counts the runs made, so that each has a nonce of its own in its prompts."""

    assignment: TrialAssignment
    session: Session
    engines: tuple[Engine, ...]
    requests: Sequence
    books: tuple[PromptBook | ChatBook, ...]
    findings: Findings
    gpus: Gpus = field(default_factory=Gpus)
    questions: Questions | None = None
    runs: int = 0
    _unwritable: bool = field(default=False, repr=False)

    @classmethod
    def set_up(cls, assignment: TrialAssignment, session: Session, findings: Findings) -> "Bench":
        """Raises prompts.ModelUnreadable where the model's config.json does not give the vocabulary, and
        trace_files.TraceUnreadable where the workload's trace cannot be replayed.
        """
        source = assignment.workload.trace
        trace = None if source is None else read_trace(source, assignment.seed)
        findings.trace = None if trace is None else trace.facts()
        requests = sequence(assignment.workload, assignment.seed, trace)
        books = tuple(_book(assignment, requests, endpoint) for endpoint in assignment.endpoints)
        engines = tuple(connect(session, endpoint) for endpoint in assignment.endpoints)
        return cls(assignment, session, engines, requests, books, findings)

    @property
    def urls(self) -> tuple[str, ...]:
        """Where each engine takes the workload's requests."""
        chat = self.assignment.workload.api == "Chat"
        return tuple(engine.chat_url if chat else engine.completions_url for engine in self.engines)

    def aim(self, timeout_s: float | None = None, first: int = 0) -> Aim:
        """Where one run's requests go, round robin over the engines, with a fresh nonce, from request ``first`` on.
        ``timeout_s``: in the place of the assignment's; what its output tokens are given is added to either.
        """
        self.runs += 1
        nonce = zlib.crc32(
            f"{self.assignment.run_uid}/{self.assignment.purpose}/{self.assignment.attempt}/{self.runs}".encode()
        )
        deadlines = self.assignment.deadlines
        limit = deadlines.request_s if timeout_s is None else timeout_s
        return Aim(self.urls, self.books, nonce, limit, first, deadlines.token_s)

    def sender(self, timeout_s: float | None = None) -> Send:
        """A ``send`` for one run in this process."""
        return self.aim(timeout_s).sender(self.session)

    async def load(
        self, kind: Kind, watch: Watch, chunks_per_s: float, timeout_s: float | None = None, first: int = 0
    ) -> Run:
        """One run, over as many processes as it takes; Stop(Void) when one of them dies."""
        processes = processes_for(chunks_per_s, cpus_here(), asked=self.assignment.measurement.client_processes)
        if processes > 1:
            LOG.info("%d client processes for up to %.0f chunks/s", processes, chunks_per_s)
        try:
            return await run_with(
                self.session,
                self.aim(timeout_s, first),
                kind,
                processes=processes,
                asked_tokens=lambda index: self.asked_tokens(first + index),
                watch=watch,
            )
        except WorkerDied as error:
            raise Stop("Void", str(error)) from error

    @property
    def tokens_a_chunk(self) -> float:
        """As single requests on the idle engine showed: the time between chunks over that between tokens. At least 1,
        and 1 before anything was shown.
        """
        idle = self.findings.idle_ms or {}
        gap, pace = idle.get("itl", 0.0), idle.get("tpot", 0.0)
        return max(1.0, gap / pace) if pace > 0 else 1.0

    def asked_tokens(self, index: int) -> int:
        """Output tokens that request ``index`` asks for."""
        return self.requests.ask(index).output_tokens

    async def check_alive(self, during: str, *, must_answer: bool = False) -> None:
        """Raises Stop(EngineFailed) when an engine is gone or has restarted since it became ready. ``must_answer``: or
        does not say that it is healthy, as a busy one may fail to.
        """
        for number, engine in enumerate(self.engines):
            health = await engine.health()
            if health.refused or (must_answer and not health.ready):
                raise Stop("EngineFailed", f"the engine stopped during {during}: {health.problem}")
            start = (await engine.sample()).process_start
            known = self.findings.engine_starts[number]
            if start is not None and known is not None and start != known:
                raise Stop("EngineFailed", f"the engine restarted during {during}: its process start time changed")

    @contextlib.asynccontextmanager
    async def observed(self) -> AsyncIterator[Observed]:
        """Read every engine's own metrics and its GPUs once a second, beside what is done inside."""
        seen = Observed()
        tasks = [asyncio.create_task(self._sample(seen.engines)), asyncio.create_task(self._read(seen.gpus))]
        try:
            yield seen
        finally:
            for task in tasks:
                task.cancel()

    async def _sample(self, samples: list[Seen]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            for number, engine in enumerate(self.engines):
                samples.append(Seen(number, round(loop.time(), 3), await engine.sample()))
            await asyncio.sleep(SAMPLE_EVERY_S)

    async def _read(self, readings: list[Moment]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            reading = await asyncio.to_thread(self.gpus.read)
            readings.append(Moment(loop.time(), reading))
            await asyncio.sleep(SAMPLE_EVERY_S)

    async def keep(self, step: str, records: Iterable[Record], samples: Iterable[Seen] = ()) -> None:
        """Write full records where a folder is given. A folder that cannot be written costs them, not the trial."""
        assignment = self.assignment
        if assignment.records_dir is None or self._unwritable:
            return
        name = f"{assignment.candidate}-{assignment.purpose.lower()}-{assignment.attempt}.jsonl.gz"
        path = Path(assignment.records_dir) / name
        try:
            await asyncio.to_thread(append_records, path, step, list(records), [sample.entry() for sample in samples])
        except OSError as error:
            self._unwritable = True
            LOG.warning("records are not kept: %s", error)
        else:
            self.findings.records = str(path)


def _book(assignment: TrialAssignment, requests: Sequence, endpoint: Endpoint) -> PromptBook | ChatBook:
    """Token ids for completions, text for a chat."""
    name, seed = endpoint.served_model_name, assignment.seed
    if assignment.workload.api == "Chat":
        return ChatBook.of(requests, served_model_name=name, seed=seed)
    vocabulary = vocabulary_size(assignment.model_path)
    return PromptBook.of(requests, served_model_name=name, vocabulary=vocabulary, seed=seed)
