"""A rate certified by the product's own trials on an engine: explored, then held, with the operator's steps down.

The workload and the (short) clock are the demo's. The limits are tighter: the demo's hold up to nearly the saturation
rate, where every wait hangs on a few percent of load, and two clients cannot be compared.
"""

import asyncio
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import uvloop

from e2e.stage import objects
from rightsizer_jobs.contract import Endpoint, Purpose, TrialAssignment, TrialReport
from rightsizer_jobs.loadgen.arrivals import NANOSECONDS, scaled
from rightsizer_jobs.loadgen.metrics import Window
from rightsizer_jobs.loadgen.records import Exchange, Record
from rightsizer_jobs.loadgen.sequence import sequence
from rightsizer_jobs.trial import search
from rightsizer_jobs.trial.run import run
from rightsizer_operator.phases import assignments
from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from rightsizer_operator.sizing import gpus, verdicts, workload

EXPLORE_SEED, CERTIFY_SEED = 7, 1007
TTFT_MS, ITL_MS = 300, 60
VOIDS = 3
"""Attempts of one trial: a void run is repeated, never counted."""


TOLD_TO_END = 143


class NotCertified(RuntimeError):
    """No rate was certified; the message says what the trials said."""


@dataclass(frozen=True, slots=True)
class Bed:
    """What every trial of this benchmark has in common."""

    spec: InferenceDeploymentSpec
    model: Path
    records: Path
    hold_s: float

    @classmethod
    def of(cls, model: Path, records: Path, hold_s: float, ttft_ms: int = TTFT_MS, itl_ms: int = ITL_MS) -> "Bed":
        wished = replace(objects.intent(1.0, full=False, questions=100), ttft_ms=ttft_ms, itl_ms=itl_ms)
        document = objects.inference_deployment(wished)["spec"]
        return cls(InferenceDeploymentSpec.model_validate(document), model, records, hold_s)

    def assignment(
        self, url: str, purpose: Purpose, seed: int, rate_rps: float | None, attempt: int
    ) -> TrialAssignment:
        setting, slo = self.spec.search.measurement, verdicts.slo_of(self.spec.slo)
        measurement = assignments.measurement_of(setting, purpose).model_copy(update={"hold_s": self.hold_s})
        load = assignments.stated_load(self.spec.workload)
        return TrialAssignment(
            purpose=purpose,
            run_uid="certified-rate",
            candidate="as-is",
            attempt=attempt,
            seed=seed,
            endpoints=(Endpoint(engine="VLLM", base_url=url, served_model_name=objects.TARGET),),
            model_path=str(self.model),
            workload=load,
            slo=slo,
            measurement=measurement,
            deadlines=assignments.deadlines_of(setting, measurement, slo, load, asks=False, watches=False),
            rate_rps=rate_rps,
            records_dir=str(self.records / f"{purpose}-{seed}"),
        )

    @property
    def load(self) -> workload.Resolved:
        return workload.resolved(self.spec.workload)


def measured(bed: Bed, url: str, purpose: Purpose, seed: int, rate_rps: float | None = None) -> TrialReport:
    """One trial that the client believes; raises NotCertified after VOIDS void ones."""
    for attempt in range(1, VOIDS + 1):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            report = runner.run(run(bed.assignment(url, purpose, seed, rate_rps, attempt)))
        if "SIGTERM" in report.reason:
            raise SystemExit(TOLD_TO_END)
        if report.outcome != "Void":
            return report
    raise NotCertified(f"{VOIDS} {purpose} trials were void, the last: {report.reason}")


def explored(bed: Bed, url: str) -> TrialReport:
    """Raises NotCertified where no rate meets the limits."""
    report = measured(bed, url, "Explore", EXPLORE_SEED)
    if report.outcome != "Succeeded" or report.capacity is None or report.capacity.lower_rps <= 0:
        raise NotCertified(f"{report.outcome}: {report.reason}")
    return report


def steps(lower_rps: float) -> Iterator[float]:
    """The rates that are tried for a lower bound, as the operator tries them."""
    for step in range(verdicts.MAX_STEP_DOWNS + 1):
        yield gpus.rounded_down(lower_rps * verdicts.STEP_DOWN**step)


def counted(bed: Bed, report: TrialReport, rate_rps: float) -> list[Record]:
    """The measured records of a certification, from the file that the trial kept."""
    assert report.records is not None and report.idle_ms is not None
    assignment = bed.assignment("http://x", "Certify", report.seed, rate_rps, report.attempt)
    gaps = sequence(assignment.workload, report.seed).gaps(search.probe_seed(report.seed, 0), 0)
    instants = scaled(gaps, rate_rps, 2 * assignment.measurement.hold_s)
    ramp_s = search.ramp_seconds(assignment.measurement, bed.hold_s, report.idle_ms["e2e"] / 1000)
    records = list(read(Path(report.records), "certification"))
    start = records[0].scheduled_ns - instants[records[0].index]
    begin = start + round(ramp_s * NANOSECONDS)
    window = Window(begin, begin + round(bed.hold_s * NANOSECONDS))
    return [record for record in records if window.counts(record)]


def read(path: Path, step: str) -> Iterator[Record]:
    """The requests of one step of a records file."""
    with gzip.open(path, "rt") as file:
        for line in map(json.loads, file):
            if line["step"] == step and "index" in line:
                exchange = {**line["exchange"], "chunks_ns": tuple(line["exchange"]["chunks_ns"])}
                yield Record(line["index"], line["scheduled_ns"], line["asked_tokens"], Exchange(**exchange))
