"""An engine's batching rules over virtual time, step by step: continuous batching with a token budget, chunked prefill,
KV blocks with preemption by recomputing. Pure; results are the load client's own records.

One step costs a few operations whatever the batch is: cache blocks are counted by phase, ends by step, and the chunks
of an answer are a slice of the common list of step ends. So 15 engine minutes take well under a second.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from benchmarks.oracle.demand import Arrival
from rightsizer_jobs.loadgen.load import CUT, Live, Run, Watch
from rightsizer_jobs.loadgen.metrics import Window
from rightsizer_jobs.loadgen.records import Exchange, Record

NANOSECONDS = 1e9
CLIENT_TIMEOUT_S = 120.0
"""An answer that takes longer is a failed request, as with the client's own deadline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineShape:
    """An engine's limits and the cost of one step in seconds.

    A step takes ``overhead_s + max(weights_s, tokens * token_s) + context * context_s + pairs * pair_s``: weights are
    read once, or the arithmetic of all its tokens takes longer; every decoding request reads its context; prompt tokens
    attend to what is before them.
    """

    weights_s: float
    token_s: float
    context_s: float
    pair_s: float = 0.0
    overhead_s: float = 0.002
    batched_tokens: int = 2048
    sequences: int = 256
    kv_blocks: int = 16_384
    block_tokens: int = 16
    chunk_tokens: int = 1
    """Tokens a streamed chunk carries after the first."""

    def step_s(self, tokens: int, context: int, pairs: float) -> float:
        return (
            self.overhead_s
            + max(self.weights_s, tokens * self.token_s)
            + context * self.context_s
            + pairs * self.pair_s
        )


def open_loop(
    shape: EngineShape, arrivals: Iterable[Arrival], *, ramp_s: float, measured_s: float, watch: Watch
) -> Run:
    """As ``loadgen.load.open_loop``: those scheduled in [ramp, ramp + measured) count, arrivals go on until all of them
    are answered, and ``watch`` may stop the run. Raises ValueError for a request that can never fit the cache.
    """
    window = Window(round(ramp_s * NANOSECONDS), round((ramp_s + measured_s) * NANOSECONDS))
    return _Run(shape, iter(arrivals), window, watch).to_the_end()


def closed_loop(
    shape: EngineShape, lengths: Iterator[tuple[int, int]], *, concurrency: int, seconds: float
) -> tuple[Run, int]:
    """As ``loadgen.load.closed_loop``: ``concurrency`` requests in flight, the last two thirds count. And the requests
    that wait for a place in the batch at its end.
    """
    stop = round(seconds * NANOSECONDS)
    run = _Run(shape, iter(()), Window(stop // 3, stop), _never)
    run.following = lengths
    for _ in range(concurrency):
        run.receive_next(0.0)
    ended = run.until(seconds)
    return ended, run.queued


def alone(shape: EngineShape, lengths: Iterator[tuple[int, int]], requests: int) -> list[Record]:
    """Single requests, one after the other, on an idle engine."""
    records: list[Record] = []
    for _ in range(requests):
        arrival = Arrival(0.0, *next(lengths))
        records += open_loop(shape, [arrival], ramp_s=0, measured_s=1e-3, watch=_never).records
    return records


def _never(_live: Live) -> str:
    return ""


@dataclass(slots=True, eq=False)
class _Sequence:
    """``target``: tokens to prefill, the prompt and, after a preemption, what was generated. ``started``: the step that
    gave its first token since then; ``past``: step ends of the tokens before.
    """

    index: int
    scheduled_ns: int
    prompt: int
    output: int
    target: int = 0
    prefilled: int = 0
    blocks: int = 0
    started: int = -1
    ends: int = -1
    past: list[int] = field(default_factory=list)


class _Run:
    """The engine's state. ``step`` counts the steps made; ``ends_ns[i]`` is when step i ended; ``admitted`` is in order
    of admission; ``partial``: the one request whose prompt is begun and not done, always the last admitted.
    """

    def __init__(self, shape: EngineShape, arrivals: Iterator[Arrival], window: Window, watch: Watch) -> None:
        self.shape, self.arrivals, self.window, self.watch = shape, arrivals, window, watch
        self.following: Iterator[tuple[int, int]] | None = None
        self.now, self.step = 0.0, 0
        self.ends_ns: list[int] = []
        self.free = shape.kv_blocks
        self.waiting: deque[_Sequence] = deque()
        self.partial: _Sequence | None = None
        self.admitted: dict[_Sequence, None] = {}
        self.decoding, self.context = 0, 0
        self.phases = [0] * shape.block_tokens
        self.ending: defaultdict[int, list[_Sequence]] = defaultdict(list)
        self.live = Live()
        self.counted, self.received = 0, 0
        self.records: list[Record] = []
        self.stopped = ""
        self.queued = 0
        self.next = next(arrivals, None)

    # --- a whole run

    def to_the_end(self) -> Run:
        stop_s = self.window.stop_ns / NANOSECONDS
        while not self.stopped:
            if self.next is not None and self.next.at <= self.now:
                self._receive()
                continue
            if self.now >= stop_s and not self.counted:
                break
            if not self._work():
                if self.next is None:
                    break
                self.now = self.next.at
        if self.stopped:
            self.window = Window(0, max(1, round(self.now * NANOSECONDS)))
            self._cut()
        return self._run()

    def until(self, seconds: float) -> Run:
        while self.now < seconds and self._work():
            pass
        self.queued = len(self.waiting)
        self._cut()
        return self._run()

    def _run(self) -> Run:
        records = tuple(sorted(self.records, key=lambda record: record.index))
        return Run(records, self.window, self.stopped, self.live)

    # --- requests in and out

    def _receive(self) -> None:
        """What arrived up to now, each before the engine could answer it."""
        while (arrival := self.next) is not None and arrival.at <= self.now and not self.stopped:
            self._accept(round(arrival.at * NANOSECONDS), arrival.input_tokens, arrival.output_tokens)
            self.next = next(self.arrivals, None)

    def receive_next(self, at: float) -> None:
        """The next request of a closed loop."""
        assert self.following is not None
        self._accept(round(at * NANOSECONDS), *next(self.following))

    def _accept(self, scheduled_ns: int, prompt: int, output: int) -> None:
        if -(-(prompt + output) // self.shape.block_tokens) > self.shape.kv_blocks:
            raise ValueError(f"a request of {prompt} + {output} tokens is larger than the cache")
        self.waiting.append(_Sequence(self.received, scheduled_ns, prompt, output, target=prompt))
        self.received += 1
        self.counted += self.window.start_ns <= scheduled_ns < self.window.stop_ns
        self.live.sent += 1
        self.live.unserved += 1
        self.stopped = self.watch(self.live)

    def _finish(self, one: _Sequence, blocks: int) -> None:
        self.free += blocks
        del self.admitted[one]
        tokens = self.ends_ns[one.started : self.step + 1]
        if one.past:
            tokens = one.past + tokens
        late = tokens[-1] - one.scheduled_ns > CLIENT_TIMEOUT_S * NANOSECONDS
        self._keep(one, self._chunks(tokens), failure=f"no end within {CLIENT_TIMEOUT_S:g} s" if late else "")
        self.live.finished += 1
        self.counted -= self.window.start_ns <= one.scheduled_ns < self.window.stop_ns
        if self.following is not None:
            self.receive_next(self.now)

    def _chunks(self, tokens: list[int]) -> list[int]:
        """Instants of the chunks: the first token by itself, then ``chunk_tokens`` at a time, and the rest."""
        stride = self.shape.chunk_tokens
        if stride == 1:
            return tokens
        chunks = tokens[::stride]
        if (len(tokens) - 1) % stride:
            chunks.append(tokens[-1])
        return chunks

    def _keep(self, one: _Sequence, chunks: list[int], failure: str) -> None:
        exchange = Exchange(
            sent_ns=one.scheduled_ns,
            chunks_ns=tuple(chunks),
            output_tokens=one.output,
            prompt_tokens=one.prompt,
            failure=failure,
        )
        self.records.append(Record(one.index, one.scheduled_ns, one.output, exchange))

    def _cut(self) -> None:
        """Whatever is in flight, with the tokens it has."""
        for one in (*self.admitted, *self.waiting):
            tokens = one.past + (self.ends_ns[one.started :] if one.started >= 0 else [])
            self._keep(one, self._chunks(tokens) if tokens else [], failure=CUT)

    # --- one step

    def _work(self) -> bool:
        """One step; False when there is nothing to do."""
        preempted = self._grow()
        tokens, pairs, done = self._prefill(self.shape.batched_tokens - self.decoding, preempted)
        if not self.decoding and not tokens:
            return False
        self.now += self.shape.step_s(tokens + self.decoding, self.context, pairs)
        self.ends_ns.append(int(self.now * NANOSECONDS))
        if self.following is None:
            self._receive()  # before anyone's first token of this step counts as served
        self._decoded()
        for one in done:
            self._start(one)
        self.step += 1
        return True

    def _grow(self) -> bool:
        """A cache block for each decoding request whose last one is full; whoever came last gives way."""
        size = self.shape.block_tokens
        preempted = False
        while (needed := self.phases[(1 - self.step) % size]) > self.free:
            self._preempt(next(reversed(self.admitted)))
            preempted = True
        self.free -= needed
        return preempted

    def _prefill(self, budget: int, preempted: bool) -> tuple[int, float, list[_Sequence]]:
        """Prompt tokens of this step, the pairs they attend to, and the requests whose prompt is then done.

        Nobody is admitted in a step that preempted, nor without a place and the blocks of a first chunk.
        """
        tokens, pairs = 0, 0.0
        done: list[_Sequence] = []
        while tokens < budget:
            one = self.partial or (None if preempted else self._candidate())
            if one is None:
                break
            chunk = min(one.target - one.prefilled, budget - tokens)
            blocks = -(-(one.prefilled + chunk) // self.shape.block_tokens) - one.blocks
            if blocks > self.free:
                if one is self.partial:
                    self._preempt(one)
                break
            if one is not self.partial:
                self.admitted[self.waiting.popleft()] = None
            self.free -= blocks
            one.blocks += blocks
            pairs += chunk * (one.prefilled + chunk / 2)
            one.prefilled += chunk
            tokens += chunk
            self.partial = None if one.prefilled == one.target else one
            if self.partial is None:
                done.append(one)
        return tokens, pairs, done

    def _candidate(self) -> _Sequence | None:
        """The first of the queue, where there is a place for it."""
        return self.waiting[0] if self.waiting and len(self.admitted) < self.shape.sequences else None

    def _start(self, one: _Sequence) -> None:
        """The prompt is done: its first (or, after a preemption, its next) token is out."""
        if not one.past:
            self.live.unserved -= 1
        one.started = self.step
        one.ends = self.step + one.output - len(one.past) - 1
        if one.ends == self.step:
            self._finish(one, one.blocks)
            return
        self.decoding += 1
        self.context += one.target + 1
        self.phases[(one.target - self.step) % self.shape.block_tokens] += 1
        self.ending[one.ends].append(one)

    def _decoded(self) -> None:
        """Everyone who decodes has one token more; some end."""
        for one in self.ending.pop(self.step, ()):
            held = self._leave(one, self.step)
            self._finish(one, -(-held // self.shape.block_tokens))
        self.context += self.decoding

    def _leave(self, one: _Sequence, step: int) -> int:
        """Takes a decoding request out of the sums; its context at ``step``."""
        held = one.target + step - one.started
        self.decoding -= 1
        self.context -= held
        self.phases[(one.target - one.started) % self.shape.block_tokens] -= 1
        return held

    def _preempt(self, one: _Sequence) -> None:
        """Back to the head of the queue, its cache given up: what it generated is prompt the next time."""
        del self.admitted[one]
        if one.started < 0:
            self.partial = None
            self.free += one.blocks
        else:
            self.ending[one.ends].remove(one)
            held = self._leave(one, self.step)
            self.free += -(-(held - 1) // self.shape.block_tokens)
            one.past = one.past + self.ends_ns[one.started : self.step]
            one.target = one.prompt + len(one.past)
        one.started, one.prefilled, one.blocks = -1, 0, 0
        self.waiting.appendleft(one)
