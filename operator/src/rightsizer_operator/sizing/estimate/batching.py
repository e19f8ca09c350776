"""A run of an engine's batching rules over simulated time: continuous batching, chunked prefill, KV admission and
preemption. Called by ``rows`` and ``candidates``.

Between two events (an arrival, a prompt, an answer's end, a full cache) every step is alike but for its growing
context, so the run jumps from event to event; its cost grows with requests, not with tokens.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from rightsizer_operator.sizing.estimate.steps import StepClock
from rightsizer_operator.sizing.estimate.tables import Efficiencies, EngineRules

MOST_STEPS = 3_000_000
"""Bound of one run, in steps that were computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What bounds a batch; ``kv_tokens`` counts all accelerators of the replica."""

    policy: str
    batched_tokens: int
    sequences: int
    kv_tokens: int
    reserves: bool
    request_s: float = 0.0
    """From the client to the scheduler, once a request."""
    token_s: float = 0.0
    """Of one output token in the engine's front end (detokenizing, streaming), which works beside the steps."""


@dataclass(slots=True)
class Request:
    """One request; times in seconds of the run. ``prompt`` grows by what was generated when it is preempted."""

    arrival: float
    prompt: int
    output: int
    prefilled: int = 0
    emitted: int = 0
    end: int = 0
    context: int = 0
    first: float = -1.0
    last: float = 0.0


@dataclass(slots=True)
class Figures:
    """What a run showed: seconds per finished request in order of ending, and gaps between tokens with their count."""

    ttft: list[float] = field(default_factory=list)
    tpot: list[float] = field(default_factory=list)
    e2e: list[float] = field(default_factory=list)
    gaps: list[tuple[float, int]] = field(default_factory=list)
    duration: float = 0.0
    preemptions: int = 0


def closed_loop(clock: StepClock, limits: Limits, lengths: Iterable[tuple[int, int]], concurrency: int) -> Figures:
    """``concurrency`` requests at once, input and output tokens from ``lengths``: each end starts the next."""
    run = _Run(clock, limits, iter(lengths))
    for pair in itertools.islice(run.lengths, concurrency):
        run.arrive(Request(0.0, *pair))
    return run.finish()


def open_loop(clock: StepClock, limits: Limits, arrivals: Iterable[tuple[float, int, int]]) -> Figures:
    """Arrivals in order of time: seconds, input tokens, output tokens."""
    run = _Run(clock, limits, iter(()))
    for arrival in arrivals:
        run.arrive(Request(*arrival))
    return run.finish()


class _Run:
    """The engine's state. ``round`` counts the decode steps of everyone, so that an answer's end is one number."""

    def __init__(self, clock: StepClock, limits: Limits, lengths: Iterator[tuple[int, int]]) -> None:
        self.clock, self.limits, self.lengths = clock, limits, lengths
        self.now, self.round, self.context, self.held = 0.0, 0, 0, 0
        self.stall, self.backlog = 0.0, 0.0
        self.arriving: list[tuple[float, int, Request]] = []
        self.waiting: deque[Request] = deque()
        self.prefilling: deque[Request] = deque()
        self.running: list[tuple[int, int, Request]] = []
        self.serial = 0
        self.figures = Figures()

    def arrive(self, request: Request) -> None:
        self.serial += 1
        heapq.heappush(self.arriving, (request.arrival + self.limits.request_s, self.serial, request))

    def finish(self) -> Figures:
        """Runs to the end of the last request; raises ValueError where one can never fit."""
        for _ in range(MOST_STEPS):
            self._receive()
            if self.waiting:
                self._admit()
            if self.prefilling:
                self._prompt_step()
            elif self.running:
                self._jump()
            elif self.waiting:
                raise ValueError("a request is larger than the cache")
            elif self.arriving:
                self.now = self.arriving[0][0]
            else:
                break
        self.figures.duration = self.now
        return self.figures

    def _receive(self) -> None:
        while self.arriving and self.arriving[0][0] <= self.now + 1e-9:
            self.waiting.append(heapq.heappop(self.arriving)[2])

    def _admit(self) -> None:
        """First come, first served: as long as a place and its cache are free. ``held`` counts cache promised."""
        limits = self.limits
        while self.waiting and len(self.running) + len(self.prefilling) < limits.sequences:
            request = self.waiting[0]
            needed = request.prompt + (request.output - request.emitted if limits.reserves else 1)
            if self.held + needed > limits.kv_tokens:
                if self.held == 0:
                    raise ValueError("a request is larger than the cache")
                return
            self.held += needed
            self.prefilling.append(self.waiting.popleft())

    def _prompt_step(self) -> None:
        """One step with prompt tokens in it; decodes ride along unless prefill goes first."""
        limits, riding = self.limits, self.limits.policy != "First"
        sequences = len(self.running) if riding else 0
        budget, tokens, pairs, done = max(1, limits.batched_tokens - sequences), 0, 0.0, 0
        for request in self.prefilling:
            wanted = request.prompt - request.prefilled
            if tokens and (tokens >= budget or (limits.policy == "Whole" and tokens + wanted > budget)):
                break
            chunk = wanted if limits.policy == "Whole" else min(wanted, budget - tokens)
            pairs += chunk * (request.prefilled + chunk / 2)
            request.prefilled += chunk
            tokens += chunk
            done += request.prefilled == request.prompt
        step = self.clock.seconds(tokens, pairs, sequences, self.context if riding else 0)
        self.now += step
        if sequences:
            self._decoded(1, step)
        else:
            self.backlog = max(0.0, self.backlog - step)
            self.stall += step if self.running else 0.0
        for _ in range(done):
            self._start(self.prefilling.popleft())

    def _start(self, request: Request) -> None:
        """The prompt is done: its first (or, after a preemption, next) token is out."""
        request.emitted += 1
        if request.first < 0:
            request.first = self.now + self.backlog
        if request.emitted >= request.output:
            self.held -= request.prompt + 1
            self._end(request)
            return
        request.end = self.round + request.output - request.emitted
        request.context = request.prompt + 1 - self.round
        self.context += request.prompt + 1
        self.serial += 1
        heapq.heappush(self.running, (request.end, -self.serial, request))

    def _jump(self) -> None:
        """Decode steps until something changes."""
        sequences, limits = len(self.running), self.limits
        steps = self.running[0][0] - self.round
        if not limits.reserves and self.held + sequences * steps > limits.kv_tokens:
            steps = (limits.kv_tokens - self.held) // sequences
            if steps < 1:
                self._preempt()
                return
        step = self.clock.seconds(0, 0.0, sequences, self.context + sequences * (steps - 1) / 2)
        if self.arriving and steps > 1 and sequences < limits.sequences:
            wait = self.arriving[0][0] - self.now
            if wait < step * steps:
                steps = max(1, min(steps, int(wait / step) + 1))
                step = self.clock.seconds(0, 0.0, sequences, self.context + sequences * (steps - 1) / 2)
        self.now += step * steps
        self._decoded(steps, step)

    def _decoded(self, steps: int, step: float) -> None:
        sequences = len(self.running)
        self.backlog = max(0.0, self.backlog + steps * (sequences * self.limits.token_s - step))
        self.round += steps
        self.context += sequences * steps
        if not self.limits.reserves:
            self.held += sequences * steps
        if self.stall:
            self.figures.gaps.append((step + self.stall, sequences))
            steps, self.stall = steps - 1, 0.0
        if steps:
            self.figures.gaps.append((step, sequences * steps))
        running = self.running
        while running and running[0][0] <= self.round:
            request = heapq.heappop(running)[2]
            context = request.context + self.round
            self.context -= context
            self.held -= context
            self._end(request)

    def _end(self, request: Request) -> None:
        figures = self.figures
        figures.ttft.append(request.first - request.arrival)
        seen = self.now + self.backlog
        figures.e2e.append(seen - request.arrival)
        if request.output > 1:
            figures.tpot.append((seen - request.first) / (request.output - 1))
        following = next(self.lengths, None)
        if following is not None:
            self.arrive(Request(seen, *following))

    def _preempt(self) -> None:
        """The cache is full: the request that came last starts again, with what it has generated as prompt."""
        last = min(self.running, key=lambda entry: entry[1])
        self.running.remove(last)
        heapq.heapify(self.running)
        request = last[2]
        context = request.context + self.round
        self.context -= context
        self.held -= context
        request.emitted = request.output - (request.end - self.round)
        request.prompt, request.prefilled = context, 0
        self.waiting.appendleft(request)
        self.figures.preemptions += 1


def limits(rules: EngineRules, of: Efficiencies, kv_tokens: int, sequences: int | None = None) -> Limits:
    """An engine's limits by its defaults; ``sequences`` instead of its batch limit."""
    return Limits(
        policy=rules.policy,
        batched_tokens=rules.batched_tokens,
        sequences=sequences or rules.sequences,
        kv_tokens=kv_tokens,
        reserves=rules.reserves,
        request_s=of.request_ms / 1e3,
        token_s=of.token_us / 1e6,
    )
