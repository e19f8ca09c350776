"""A trial in virtual time: the real search and statistics of the Jobs, over the law instead of an engine. Pure.

Steps, lengths and stopping rules are those of ``rightsizer_jobs.trial``; only what costs a clock is replaced: the
engine, the wire, and single requests on the idle engine, which take what the law says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from e2e.replay import virtual
from e2e.replay.recordings import Curve
from rightsizer_jobs.contract import Metric, Probe, TrialAssignment, TrialOutcome, TrialReport
from rightsizer_jobs.loadgen.arrivals import scaled
from rightsizer_jobs.loadgen.metrics import Window, rounded, summarise
from rightsizer_jobs.loadgen.sequence import sequence
from rightsizer_jobs.stats import holds
from rightsizer_jobs.trial import search, steps
from rightsizer_jobs.trial.findings import Findings, Stop
from rightsizer_jobs.trial.probing import queue_limit
from rightsizer_jobs.trial.saturation import saturation

START_S = 60.0
"""Engine time of a start that is counted; recordings say nothing of it."""
SAID = "recorded latencies of a table, in virtual time"


@dataclass(slots=True)
class VirtualTrial:
    """One trial of one curve. ``spent_s`` is engine time, by the law's clock."""

    assignment: TrialAssignment
    curve: Curve
    findings: Findings = field(init=False)
    spent_s: float = START_S

    def __post_init__(self) -> None:
        self.findings = Findings(self.assignment, started=0.0)

    def run(self) -> TrialReport:
        """The report, as the client would write it; without answers, since nothing is asked here."""
        try:
            stop = self._hold() if self.assignment.rate_rps is not None else self._explore()
        except Stop as stopped:
            stop = stopped
        report = self.findings.report(stop.outcome, stop.reason)
        return report.model_copy(update={"engine_s": round(self.spent_s, 1), "ready_s": START_S, "replayed": SAID})

    @property
    def tokens(self) -> int:
        found = self.assignment.workload.output_tokens
        assert isinstance(found, int), "recordings are of one length"
        return found

    def _sane(self) -> None:
        """Single requests on the idle engine."""
        wait, gap = self.curve.ttft_at(1), self.curve.tpot_at(1)
        whole = wait + (self.tokens - 1) * gap
        idle: dict[Metric, float] = {"ttft": wait, "itl": gap, "tpot": gap, "e2e": whole}
        self.findings.idle_ms = {metric: rounded(value) for metric, value in idle.items()}
        self.spent_s += self.assignment.measurement.sanity_requests * whole / 1000
        if missing := steps.idle_misses(self.findings.idle_ms, self.assignment.slo):
            raise Stop("MissedSLO", f"a single request on the idle engine already misses: {missing}")

    def _explore(self) -> Stop:
        self._sane()
        self.spent_s += 2 * search.warm_up_seconds(self.assignment.measurement, self.findings.answer_s)
        began = self.spent_s
        while True:
            situation = search.Situation(
                probes=tuple(self.findings.probes),
                saturation=self.findings.saturation,
                slo=self.assignment.slo,
                measurement=self.assignment.measurement,
                spent_s=self.spent_s - began,
                left_s=self.assignment.deadlines.total_s - self.spent_s,
                rate_to_beat_rps=self.assignment.rate_to_beat_rps,
                answer_s=self.findings.answer_s,
                idle_tpot_ms=(self.findings.idle_ms or {}).get("tpot", 0.0),
            )
            step = search.decide(situation)
            if isinstance(step, search.Done):
                self.findings.capacity = step.capacity
                return Stop(step.outcome, step.reason)
            if isinstance(step, search.Saturate):
                self._saturate(step)
                continue
            seed = search.probe_seed(self.assignment.seed, len(self.findings.probes) + 1)
            self.findings.probes.append(self._probe(step.rate_rps, situation.ramp_s, step.seconds, seed))

    def _hold(self) -> Stop:
        rate, measurement = self.assignment.rate_rps, self.assignment.measurement
        assert rate is not None
        self._sane()
        ramp_s = search.ramp_seconds(measurement, measurement.hold_s, self.findings.answer_s)
        held = self._probe(rate, ramp_s, measurement.hold_s, self.assignment.seed)
        self.findings.probes.append(held)
        outcome: TrialOutcome = "Succeeded" if holds(held, self.assignment.slo) else "MissedSLO"
        return Stop(outcome, "held" if outcome == "Succeeded" else search.missed([held], self.assignment.slo))

    def _saturate(self, wanted: search.Saturate) -> None:
        seconds = wanted.seconds
        records = virtual.closed_loop(
            self.curve,
            concurrency=wanted.concurrency,
            tokens=self.tokens,
            until_ms=1000 * seconds,
            interval=TOKENS_A_CHUNK,
        )
        self.spent_s += seconds
        self.findings.saturation = saturation(
            records,
            Window(round(seconds / 3 * 1e9), round(seconds * 1e9)),
            concurrency=wanted.concurrency,
            mean_output_tokens=self.tokens,
            waiting=max(0, wanted.concurrency - self.curve.most),
            slo=self.assignment.slo,
            before=self.findings.saturation,
        )

    def _probe(self, rate_rps: float, ramp_s: float, seconds: float, seed: int) -> Probe:
        """Arrivals go on until everything counted is answered, as the client's do."""
        assignment = self.assignment
        tail_s = assignment.deadlines.answer_s(self.tokens)
        requests = sequence(assignment.workload, assignment.seed)
        instants = [at / 1e6 for at in scaled(requests.gaps(seed, 0), rate_rps, ramp_s + seconds + tail_s)]
        idle = (self.findings.idle_ms or {}).get("ttft", 1000.0)
        most = queue_limit(rate_rps, assignment.slo, idle)
        until_ms = 1000 * (ramp_s + seconds)
        played = virtual.open_loop(self.curve, instants, tokens=self.tokens, until_ms=until_ms, most_unserved=most)
        stopped = played.stopped_ms
        window = Window(round(ramp_s * 1e9), round((ramp_s + seconds) * 1e9))
        if stopped is not None:
            window = Window(0, max(1, round(stopped * 1e6)))
        self.spent_s += (stopped if stopped is not None else played.ended_ms) / 1000
        return summarise(
            played.records, window, rate_rps=rate_rps, slo=assignment.slo,
            block_s=assignment.measurement.block_s, aborted=stopped is not None,
            balanced=requests.balanced,
        )  # fmt: skip


TOKENS_A_CHUNK = 64
"""In the saturation run, whose figure counts tokens as they come."""


def played(assignment: TrialAssignment, curves: Mapping[str, Curve]) -> TrialReport:
    """The trial of the assignment's candidate; ``curves`` by candidate id. Raises KeyError for an unknown one."""
    return VirtualTrial(assignment, curves[assignment.candidate]).run()
