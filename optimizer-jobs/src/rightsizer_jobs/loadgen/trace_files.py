"""Trace files on the model volume: three published formats, read line by line. Formats: docs/workloads.md.

Reads files. Whatever is wrong with one is said with file, line, column and remedy.
"""

import csv
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rightsizer_jobs.loadgen.traces import BLOCK_TOKENS, Row, Trace, spread, tick_s
from rightsizer_jobs.workload import TraceFile, TraceFormat

LONGEST_LINE = 1 << 18
MOST_REQUESTS = 1_000_000
MOST_INPUT, MOST_OUTPUT = 1_000_000, 100_000
LEAST_REQUESTS = 2
"""Fewer have no rate."""

AZURE = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
BURSTGPT = ("Timestamp", "Request tokens", "Response tokens")
MOONCAKE = ("timestamp", "input_length", "output_length")


class TraceUnreadable(ValueError):
    """The file is missing, is not the one named by its digest, or has a bad line. The message begins ``trace ``."""


class _Bad(ValueError):
    """What is wrong in one line."""

    def __init__(self, column: str, problem: str) -> None:
        super().__init__(f"column {column}: {problem}" if column else problem)


Parse = Callable[[str], Row | None]
"""One line as a row; None: a request that failed when it was recorded."""


def read_trace(source: TraceFile, seed: int) -> Trace:
    """The window of the trace that is to be replayed; raises TraceUnreadable.

    ``seed`` spreads the batches of a coarse clock.
    """
    path = Path(source.path)
    try:
        with path.open("rb") as file:
            return _Reading(source, path).read(iter(lambda: file.readline(LONGEST_LINE + 1), b""), seed)
    except OSError as error:
        raise TraceUnreadable(f"trace {path}: {error.strerror or error}; check the path on the model volume") from error


@dataclass(slots=True)
class _Window:
    """Rows in the window, and what is known of the file so far."""

    start_s: float
    stop_s: float
    rows: list[Row]
    first_s: float = 0.0
    last_s: float = 0.0
    seen: int = 0
    over: bool = False
    """A row behind the window was seen: what follows is not looked at."""

    def take(self, row: Row) -> None:
        """Times must not go back."""
        if not self.seen:
            self.first_s = self.last_s = row.at_s
        if row.at_s < self.last_s:
            back = self.last_s - row.at_s
            raise _Bad("", f"its time lies {back:.6g} s before the line above; sort the file by time")
        self.seen, self.last_s = self.seen + 1, row.at_s
        at = row.at_s - self.first_s
        if at >= self.stop_s:
            self.over = True
        elif at >= self.start_s:
            if len(self.rows) >= MOST_REQUESTS:
                raise _Bad("", f"more than {MOST_REQUESTS} requests in the window; set or lower durationSeconds")
            self.rows.append(replace(row, at_s=at - self.start_s))


class _Reading:
    """One file being read."""

    def __init__(self, source: TraceFile, path: Path) -> None:
        self.source, self.path = source, path
        stop = math.inf if source.duration_s is None else source.start_s + source.duration_s
        self.window = _Window(source.start_s, stop, [])

    def read(self, lines: Iterator[bytes], seed: int) -> Trace:
        digest = hashlib.sha256()
        parse: Parse | None = None
        for number, data in enumerate(lines, 1):
            digest.update(data)
            if self.window.over or not data.strip():
                continue
            try:
                text = _text(data)
                if parse is None:
                    parse, is_header = recognise(text.removeprefix("\ufeff"), self.source.format)
                    if is_header:
                        continue
                row = parse(text.removeprefix("\ufeff"))
                if row is not None:
                    self.window.take(row)
            except _Bad as bad:
                raise self._unreadable(f", line {number}", str(bad)) from bad
        self._check_digest(digest.hexdigest())
        return self._trace(digest.hexdigest(), seed)

    def _trace(self, sha256: str, seed: int) -> Trace:
        window = self.window
        if window.seen < LEAST_REQUESTS:
            raise self._unreadable("", f"has {window.seen} requests, at least {LEAST_REQUESTS} are needed for a rate")
        instants = [row.at_s for row in window.rows]
        tick = tick_s(instants)
        span = window.last_s - window.first_s
        if len(instants) < LEAST_REQUESTS:
            raise self._unreadable(
                "",
                f"has {len(instants)} requests from startSeconds {window.start_s:g} on"
                f"{'' if math.isinf(window.stop_s) else f' to {window.stop_s:g} s'}, at least {LEAST_REQUESTS} are "
                f"needed; it is known to last {span:.6g} s: lower startSeconds, or raise durationSeconds",
            )
        # The file ends one mean gap, or one tick of its clock, behind its last request.
        end = span + (tick or span / (window.seen - 1))
        seconds = (window.stop_s if window.over else min(window.stop_s, end)) - window.start_s
        if seconds <= 0:
            raise self._unreadable("", "has one time in all lines, so no rate follows; check the time column")
        placed = spread(instants, tick, seconds, seed)
        rows = tuple(replace(row, at_s=at) for row, at in zip(window.rows, placed, strict=True))
        return Trace(rows, seconds, sha256)

    def _check_digest(self, found: str) -> None:
        wanted = self.source.sha256
        if wanted is not None and found != wanted:
            raise self._unreadable("", f"has SHA-256 {found[:12]}, expected {wanted[:12]}: the file was changed")

    def _unreadable(self, where: str, problem: str) -> TraceUnreadable:
        return TraceUnreadable(f"trace {self.path}{where}{': ' if where else ' '}{problem}")


def _text(data: bytes) -> str:
    if len(data) > LONGEST_LINE:
        raise _Bad("", f"longer than {LONGEST_LINE >> 10} KiB; a request has a line of its own")
    try:
        return data.decode("utf-8").strip("\r\n")
    except UnicodeDecodeError as error:
        raise _Bad(
            "", f"not UTF-8 at byte {error.start}; save it as UTF-8, and decompress it if it is packed"
        ) from None


# --- formats


def recognise(first: str, stated: TraceFormat | None) -> tuple[Parse, bool]:
    """How the lines are read, and whether the first one is a header; raises _Bad where the format is none of ours."""
    found: TraceFormat | None = "Mooncake" if first.lstrip().startswith("{") else None
    header = [] if found else _fields(first)
    for format_, wanted in (("Azure", AZURE), ("BurstGPT", BURSTGPT)):
        if not found and set(wanted) <= set(header):
            found = "Azure" if format_ == "Azure" else "BurstGPT"
    if found is None or (stated is not None and stated != found):
        raise _Bad("", _unknown(first, stated, header))
    if found == "Mooncake":
        return _mooncake, False
    if len(set(header)) < len(header):
        raise _Bad("", "the header names a column twice")
    return _csv(header, found), True


def _unknown(first: str, stated: TraceFormat | None, header: list[str]) -> str:
    known = {"Azure": AZURE, "BurstGPT": BURSTGPT}
    if stated == "Mooncake":
        return f"no JSON object, as format Mooncake has one a line: {first[:40]!r}; correct the file or the format"
    if stated is not None:
        missing = ", ".join(name for name in known[stated] if name not in header)
        shown = missing or "none: it is of another format"
        return f"the header lacks columns of format {stated}: {shown}; correct the file or the format"
    formats = "; ".join(f"{name}: {','.join(columns)}" for name, columns in known.items())
    return (
        f"{first[:60]!r} begins no known trace. Known headers are {formats}; Mooncake is JSON lines with "
        f"{', '.join(MOONCAKE)}"
    )


def _fields(line: str) -> list[str]:
    try:
        return [field.strip() for field in next(csv.reader((line,), strict=True))]
    except (csv.Error, StopIteration) as error:
        raise _Bad("", f"no CSV: {error}") from None


def _csv(header: list[str], format_: TraceFormat) -> Parse:
    columns = AZURE if format_ == "Azure" else BURSTGPT
    time, given, made = (header.index(name) for name in columns)
    moment = _moment if format_ == "Azure" else _seconds

    def parse(line: str) -> Row | None:
        fields = _fields(line)
        if len(fields) != len(header):
            raise _Bad("", f"{len(fields)} columns, the header has {len(header)}")
        output = _whole(columns[2], fields[made], MOST_OUTPUT, least=0 if format_ == "BurstGPT" else 1)
        at, length = moment(columns[0], fields[time]), _whole(columns[1], fields[given], MOST_INPUT)
        # BurstGPT records a failed request with no response tokens.
        return Row(at, length, output) if output else None

    return parse


def _mooncake(line: str) -> Row:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise _Bad("", "no JSON; each line holds one object") from None
    if not isinstance(found, dict):
        raise _Bad("", "no JSON object")
    missing = [name for name in MOONCAKE if name not in found]
    if missing:
        raise _Bad(missing[0], "missing")
    length = _whole(MOONCAKE[1], found[MOONCAKE[1]], MOST_INPUT)
    return Row(
        _seconds(MOONCAKE[0], found[MOONCAKE[0]]) / 1000,
        length,
        _whole(MOONCAKE[2], found[MOONCAKE[2]], MOST_OUTPUT),
        _blocks(found, length),
    )


def _blocks(found: Mapping[str, Any], length: int) -> tuple[int, ...]:
    ids = found.get("hash_ids")
    if ids is None:
        return ()
    if not isinstance(ids, list) or not all(type(one) is int and 0 <= one < 1 << 62 for one in ids):
        raise _Bad("hash_ids", "not a list of whole numbers")
    wanted = -(-length // BLOCK_TOKENS)
    if len(ids) != wanted:
        raise _Bad("hash_ids", f"{len(ids)} blocks for {length} tokens; {wanted} of {BLOCK_TOKENS} tokens are expected")
    return tuple(ids)


def _whole(column: str, value: object, most: int, *, least: int = 1) -> int:
    text = str(value).strip() if type(value) in (int, str) else ""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
        raise _Bad(column, f"{_quoted(value)} is no whole number of tokens")
    found = int(text)
    if not least <= found <= most:
        raise _Bad(column, f"{found} tokens; {least} to {most} are possible")
    return found


def _seconds(column: str, value: object) -> float:
    try:
        found = float(value) if type(value) in (int, float, str) else math.nan  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        found = math.nan
    if not abs(found) < 1e15:
        raise _Bad(column, f"{_quoted(value)} is no time")
    return found


def _moment(column: str, value: str) -> float:
    """``2023-11-16 18:15:46.6805900`` in seconds; UTC where no offset is given."""
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise _Bad(column, f"{_quoted(value)} is no time such as 2023-11-16 18:15:46.6805900") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _quoted(value: object) -> str:
    return repr(value)[:40]
