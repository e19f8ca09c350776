"""Recorded latencies: one table (``benchmarks/data/measured.csv`` or another in its format), read into curves.

A curve is what one configuration showed at one pair of lengths over the recorded concurrencies. Between two of them,
``ln ttft`` and ``ln tpot`` are linear in ``ln concurrency``; below the lowest the lowest's values stand; above the
highest nothing is known, so the law queues there.
"""

import csv
import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).resolve().parents[2] / "benchmarks" / "data" / "measured.csv"
ENGINES = {"vllm": "VLLM", "trtllm": "TensorRTLLM"}
"""``backend`` of the table -> the operator's word. Rows of other backends are no recordings of ours."""

NEEDED = (
    "backend", "model_path", "system", "precision", "isl", "osl", "concurrency", "tp_size", "ttft_ms", "tpot_ms",
)  # fmt: skip
SINGLE = ("pp_size", "attention_dp_size")
"""Parallelism that the replay does not know: rows where it is not 1 (or absent) are left out."""


class BadRecordings(ValueError):
    """The file cannot be used; the message names file, line, column and what is expected."""


@dataclass(frozen=True, slots=True, order=True)
class Served:
    """One configuration of one replica. ``precision``: ``fp8``, ``fp4`` or empty (as the checkpoint is)."""

    model: str
    system: str
    precision: str
    engine: str
    parallelism: int

    def __str__(self) -> str:
        weights = self.precision or "as the checkpoint is"
        return f"{self.model} ({weights}) on {self.system} with {self.engine} at TP{self.parallelism}"


@dataclass(frozen=True, slots=True, order=True)
class Lengths:
    """Input and output tokens of every request."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Curve:
    """Mean TTFT and time per output token, milliseconds, at rising concurrencies."""

    concurrency: tuple[int, ...]
    ttft_ms: tuple[float, ...]
    tpot_ms: tuple[float, ...]

    @property
    def most(self) -> int:
        """The highest recorded concurrency: beyond it requests queue."""
        return self.concurrency[-1]

    def ttft_at(self, concurrency: int) -> float:
        return self._at(self.ttft_ms, concurrency)

    def tpot_at(self, concurrency: int) -> float:
        return self._at(self.tpot_ms, concurrency)

    def _at(self, values: Sequence[float], concurrency: int) -> float:
        index = bisect_left(self.concurrency, concurrency)
        if index == 0:
            return values[0]
        if index == len(values):
            return values[-1]
        low, high = self.concurrency[index - 1], self.concurrency[index]
        share = math.log(concurrency / low) / math.log(high / low)
        return math.exp((1 - share) * math.log(values[index - 1]) + share * math.log(values[index]))


Curves = Mapping[Served, Mapping[Lengths, Curve]]


def load(path: Path = TABLE) -> Curves:
    """Every curve of the table; raises BadRecordings."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return curves_of(csv.DictReader(file), str(path))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadRecordings(f"{path}: cannot be read: {error}") from error


def curves_of(rows: Iterable[Mapping[str, str | None]], source: str) -> Curves:
    """Curves from rows of text; raises BadRecordings with the line named (the header is line 1)."""
    points: dict[tuple[Served, Lengths], dict[int, tuple[float, float]]] = defaultdict(dict)
    for line, row in enumerate(rows, 2):
        reader = _Row(row, f"{source}, line {line}")
        if line == 2:
            reader.check_columns()
        if (found := reader.read()) is None:
            continue
        served, lengths, concurrency, latencies = found
        if concurrency in points[served, lengths]:
            raise reader.bad("concurrency", f"a second recording of {served} at {lengths} with {concurrency} in flight")
        points[served, lengths][concurrency] = latencies
    if not points:
        raise BadRecordings(f"{source}: no usable row: none of backend {' or '.join(ENGINES)} without pipeline stages")
    curves: dict[Served, dict[Lengths, Curve]] = defaultdict(dict)
    for (served, lengths), known in sorted(points.items()):
        ladder = sorted(known)
        curves[served][lengths] = Curve(
            tuple(ladder), tuple(known[one][0] for one in ladder), tuple(known[one][1] for one in ladder)
        )
    return curves


def nearest(curves: Mapping[Lengths, Curve], wanted: Lengths) -> Lengths:
    """The recorded lengths nearest on a log scale: requests of other lengths are answered like those."""

    def distance(one: Lengths) -> tuple[float, Lengths]:
        prompt = math.log(one.input_tokens / max(1, wanted.input_tokens))
        answer = math.log(one.output_tokens / max(1, wanted.output_tokens))
        return math.hypot(prompt, answer), one

    return min(curves, key=distance)


@dataclass(frozen=True, slots=True)
class _Row:
    row: Mapping[str, str | None]
    where: str

    def bad(self, column: str, problem: str) -> BadRecordings:
        return BadRecordings(f"{self.where}: {column}: {problem}")

    def check_columns(self) -> None:
        missing = [name for name in NEEDED if name not in self.row]
        if missing:
            raise BadRecordings(
                f"{self.where.rpartition(', ')[0]}: the header lacks {', '.join(missing)}; "
                "the columns are those of benchmarks/data/README.md"
            )

    def read(self) -> tuple[Served, Lengths, int, tuple[float, float]] | None:
        """None for a row that is no recording of ours."""
        engine = ENGINES.get(self.text("backend"))
        if engine is None or any((self.row.get(name) or "1").strip() != "1" for name in SINGLE):
            return None
        served = Served(
            self.text("model_path"), self.text("system"), self.text("precision", empty=True), engine,
            self.whole("tp_size"),
        )  # fmt: skip
        lengths = Lengths(self.whole("isl"), self.whole("osl"))
        return served, lengths, self.whole("concurrency"), (self.latency("ttft_ms"), self.latency("tpot_ms"))

    def text(self, column: str, *, empty: bool = False) -> str:
        value = (self.row.get(column) or "").strip()
        if not value and not empty:
            raise self.bad(column, "is empty")
        return value

    def whole(self, column: str) -> int:
        value = self.text(column)
        if not value.isdecimal() or int(value) < 1:
            raise self.bad(column, f"must be a whole number from 1, not {value[:40]!r}")
        return int(value)

    def latency(self, column: str) -> float:
        value = self.text(column)
        try:
            found = float(value)
        except ValueError:
            found = math.nan
        if not 0 < found < math.inf:
            raise self.bad(column, f"must be milliseconds above 0, not {value[:40]!r}")
        return found
