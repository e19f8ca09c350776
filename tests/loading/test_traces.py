"""Recorded traces: three formats read alike, bad lines named, windows, and gaps that keep the trace's bursts."""

import hashlib
import itertools
import json
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as some

from rightsizer_jobs.loadgen.arrivals import scaled
from rightsizer_jobs.loadgen.trace_files import BURSTGPT, TraceUnreadable, read_trace
from rightsizer_jobs.loadgen.traces import Row, Trace, busiest, spread, tick_s
from rightsizer_jobs.workload import TraceFile

AZURE_HEAD = "TIMESTAMP,ContextTokens,GeneratedTokens"
BURST_HEAD = "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type"
ROWS = [(0.0, 374, 44), (0.5, 396, 109), (0.5, 879, 55), (4.25, 91, 16)]
ROW = some.tuples(some.integers(0, 10**9), some.integers(1, 10**6), some.integers(1, 10**5))


def azure(rows):
    def moment(at):
        return f"2023-11-16 18:{at // 60 % 60:02.0f}:{at % 60:010.7f}"

    return "\n".join([AZURE_HEAD, *(f"{moment(at)},{given},{made}" for at, given, made in rows)])


def burstgpt(rows):
    lines = [f"{at},s-1,1.5,ChatGPT,{given},{made},{given + made},Conversation log" for at, given, made in rows]
    return "\n".join([BURST_HEAD, *lines, ""])


def mooncake(rows):
    return "\n".join(
        json.dumps(
            {
                "timestamp": at * 1000,
                "input_length": given,
                "output_length": made,
                "hash_ids": list(range(-(-given // 512))),
            }
        )
        for at, given, made in rows
    )


@pytest.fixture
def trace(tmp_path):
    """Write a file and read its window."""

    def read(text, *, seed=1, **fields):
        path = tmp_path / "trace.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_trace(TraceFile(path=str(path), **fields), seed)

    return read


def plain(found):
    return [(row.at_s, row.input_tokens, row.output_tokens) for row in found.rows]


@pytest.mark.parametrize("write", [azure, burstgpt, mooncake])
def test_each_format_gives_the_same_requests(trace, write):
    found = trace(write(ROWS))
    assert plain(found) == [(pytest.approx(at), given, made) for at, given, made in ROWS]
    assert [bool(row.blocks) for row in found.rows] == [write is mooncake] * 4


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_blank_lines_and_byte_order_marks_are_taken_as_they_come(trace, ending, mark):
    found = trace(mark + azure(ROWS).replace("\n", ending) + ending * 3)
    assert len(found.rows) == 4


@given(rows=some.lists(ROW, min_size=2, max_size=30))
def test_what_was_written_is_read_again(tmp_path_factory, rows):
    rows = sorted(rows)
    if rows[0][0] == rows[-1][0]:
        rows[-1] = (rows[-1][0] + 1, *rows[-1][1:])
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_text(burstgpt(rows))
    found = read_trace(TraceFile(path=str(path)), 1)
    assert [row[1:] for row in plain(found)] == [row[1:] for row in rows]
    assert list(found.rows) == sorted(found.rows, key=lambda row: row.at_s)
    assert 0 <= found.rows[0].at_s <= found.rows[-1].at_s <= found.seconds


def test_requests_that_failed_when_burstgpt_recorded_them_are_passed_over(trace):
    assert len(trace(burstgpt([*ROWS, (5, 100, 0), (6, 100, 3)])).rows) == 5


def test_azure_times_with_an_offset_are_read_as_well(trace):
    text = f"{AZURE_HEAD}\n2024-05-10 00:00:00.009930+00:00,5,6\n2024-05-10 00:00:02.009930+00:00,7,8"
    assert [row.at_s for row in trace(text).rows] == [0, pytest.approx(2)]


# --- bad input


def lines(*rows, head=AZURE_HEAD):
    return "\n".join([head, *rows])


GOOD = "2023-11-16 18:15:46.6805900,374,44"
HOSTILE = [
    ("an empty file", "", "has 0 requests"),
    ("a header alone", AZURE_HEAD, "has 0 requests"),
    ("one request", lines(GOOD), "has 1 requests, at least 2 are needed"),
    ("requests of one instant", lines(GOOD, GOOD), "one time in all lines"),
    ("columns of no known trace", "when,tokens\n1,2", "line 1: 'when,tokens' begins no known trace"),
    ("a column missing", "TIMESTAMP,ContextTokens\n1,2", "begins no known trace"),
    ("a column twice", lines(GOOD, head=AZURE_HEAD + ",TIMESTAMP"), "line 1: the header names a column twice"),
    ("a line with too few columns", lines(GOOD, "2023-11-16 18:15:47,374"), "line 3: 2 columns, the header has 3"),
    ("a length in words", lines("2023-11-16 18:15:46,many,44"), "line 2: column ContextTokens: 'many' is no whole"),
    ("a negative length", lines("2023-11-16 18:15:46,374,-4"), "column GeneratedTokens: -4 tokens; 1 to 100000"),
    ("an answer of nothing", lines("2023-11-16 18:15:46,374,0"), "column GeneratedTokens: 0 tokens"),
    ("a length beyond any engine", lines("2023-11-16 18:15:46,9999999,4"), "column ContextTokens: 9999999 tokens"),
    ("a length of other digits", lines("2023-11-16 18:15:46,٣,4"), "column ContextTokens: '٣' is no whole number"),
    ("a fractional length", lines("2023-11-16 18:15:46,3.5,4"), "column ContextTokens: '3.5' is no whole number"),
    ("a time in words", lines("noon,3,4"), "line 2: column TIMESTAMP: 'noon' is no time"),
    ("times that go back", lines(GOOD, "2023-11-16 18:15:45,3,4"), "line 3: its time lies 1.68059 s before"),
    ("an open quote", lines(GOOD, '"2023-11-16 18:15:47,3,4'), "line 3: no CSV"),
    ("a packed file", b"\x1f\x8b\x08\x00\xff\xfe", "line 1: not UTF-8 at byte 1; save it as UTF-8, and decompress"),
    ("a line without end", "x" * (1 << 19), "line 1: longer than 256 KiB"),
    ("BurstGPT with a negative answer", burstgpt([(1, 5, -1)]), "column Response tokens: -1 tokens; 0 to"),
    ("BurstGPT with an endless time", burstgpt([("inf", 5, 1)]), "column Timestamp: 'inf' is no time"),
    ("BurstGPT with a time of nothing", burstgpt([("nan", 5, 1)]), "column Timestamp: 'nan' is no time"),
    ("JSON that ends early", '{"timestamp": 0,', "line 1: no JSON"),
    ("JSON nested without end", '{"timestamp": ' + "[" * 100_000, "line 1: no JSON"),
    ("a JSON list", '{"timestamp":0,"input_length":1,"output_length":1}\n[]', "line 2: no JSON object"),
    ("Mooncake without a length", '{"timestamp": 0, "output_length": 4}', "column input_length: missing"),
    ("Mooncake with a length as text", '{"timestamp": 0, "input_length": true, "output_length": 4}', "True is no"),
    ("Mooncake at no time", '{"timestamp": NaN, "input_length": 3, "output_length": 4}', "column timestamp: nan"),
    (
        "Mooncake with a time beyond all floats",
        f'{{"timestamp": 1{"0" * 400}, "input_length": 3, "output_length": 4}}',
        "column timestamp",
    ),
    (
        "blocks of another size", '{"timestamp": 0, "input_length": 1024, "output_length": 4, "hash_ids": [1,2,3]}',
        "column hash_ids: 3 blocks for 1024 tokens; 2 of 512 tokens are expected",
    ),
    (
        "blocks without names", '{"timestamp": 0, "input_length": 4, "output_length": 4, "hash_ids": ["a"]}',
        "column hash_ids: not a list of whole numbers",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "problem"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
def test_a_bad_trace_is_one_error_that_names_file_line_and_column(trace, tmp_path, text, problem):
    with pytest.raises(TraceUnreadable) as caught:
        trace(text)
    assert problem in str(caught.value)
    assert str(caught.value).startswith(f"trace {tmp_path / 'trace.txt'}")
    assert len(str(caught.value)) < 400


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(TraceUnreadable, match=r"trace .*gone\.csv: No such file.*; check the path on the model volume"):
        read_trace(TraceFile(path=str(tmp_path / "gone.csv")), 1)


@pytest.mark.parametrize(
    ("format_", "problem"),
    [
        ("BurstGPT", f"lacks columns of format BurstGPT: {', '.join(BURSTGPT)}; correct the file or the format"),
        ("Mooncake", "no JSON object, as format Mooncake has one a line"),
    ],
)
def test_a_stated_format_is_held_against_the_file(trace, format_, problem):
    with pytest.raises(TraceUnreadable, match=problem):
        trace(azure(ROWS), format=format_)
    assert len(trace(azure(ROWS), format="Azure").rows) == 4


def test_a_stated_digest_is_held_against_the_whole_file(trace):
    text = azure(ROWS)
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert trace(text, sha256=digest, duration_s=1).sha256 == digest
    with pytest.raises(TraceUnreadable, match="expected 000000000000: the file was changed"):
        trace(text, sha256="0" * 64)


# --- the window


def test_a_window_counts_from_the_first_request_and_ends_where_it_is_told(trace):
    found = trace(burstgpt([(100 + n, 10 + n, 5) for n in range(20)]), start_s=5, duration_s=4)
    assert plain(found) == [(n, 15 + n, 5) for n in range(4)]
    assert found.seconds == 4


def test_a_window_without_an_end_goes_one_gap_beyond_the_last_request(trace):
    found = trace(burstgpt([(n, 10, 5) for n in range(20)]), start_s=5)
    assert (len(found.rows), found.seconds) == (15, 15)


def test_a_window_beyond_the_file_ends_with_the_file(trace):
    assert trace(burstgpt([(n, 10, 5) for n in range(20)]), duration_s=500).seconds == 20


@pytest.mark.parametrize("window", [{"start_s": 50}, {"start_s": 3, "duration_s": 1}])
def test_a_window_without_requests_is_refused_with_what_to_change(trace, window):
    with pytest.raises(TraceUnreadable, match="lower startSeconds, or raise durationSeconds"):
        trace(burstgpt([(n, 10, 5) for n in range(20)]), **window)


# --- replay


INSTANTS = some.lists(some.floats(0, 1000, allow_subnormal=False), min_size=2, max_size=60).map(sorted)


def made(instants, seconds=None):
    end = instants[-1] + 1.0 if seconds is None else seconds
    return Trace(tuple(Row(at, 10, 5) for at in instants), end, "0" * 64)


@given(instants=INSTANTS, first=some.integers(0, 59))
def test_a_lap_of_gaps_has_mean_one_from_wherever_it_begins(instants, first):
    found = made(instants)
    count = len(found.rows)
    lap = list(itertools.islice(found.gaps(first % count), count))
    assert sum(lap) == pytest.approx(count)
    assert min(lap) >= 0


@given(instants=INSTANTS, rate=some.floats(0.1, 50))
def test_a_trace_scaled_to_a_rate_keeps_its_relative_gaps_and_has_that_rate(instants, rate):
    found = made(instants)
    count = len(found.rows)
    arrivals = scaled(found.gaps(0), rate, 2.5 * count / rate)
    factor = count / found.seconds / rate
    for (one, other), (early, late) in zip(
        itertools.pairwise(arrivals[:count]), itertools.pairwise(instants), strict=False
    ):
        assert (other - one) / 1e9 == pytest.approx((late - early) * factor, abs=1e-6)
    assert len([at for at in arrivals if at < 2 * count / rate * 1e9]) == pytest.approx(2 * count, abs=count)


def test_a_run_longer_than_the_trace_begins_it_again(trace):
    found = made([0.0, 1.0, 4.0], 5.0)
    assert list(itertools.islice(found.gaps(0), 7)) == pytest.approx([0.6, 0.6, 1.8, 0.6, 0.6, 1.8, 0.6])


def test_a_seed_chooses_where_a_run_begins():
    found = made([float(n) for n in range(500)])
    assert found.first(3) == found.first(3)
    assert len({found.first(seed) for seed in range(20)}) > 10


def test_the_batches_of_a_coarse_clock_are_spread_over_its_tick():
    batches = [3.0 * (n // 10) for n in range(3000)]
    assert tick_s(batches) == 3.0
    placed = spread(batches, 3.0, 900.0, 7)
    assert placed == sorted(placed) == spread(batches, 3.0, 900.0, 7) != spread(batches, 3.0, 900.0, 8)
    assert [at // 3 for at in placed] == [at // 3 for at in batches]
    counts = [sum(second <= at < second + 1 for at in placed) for second in range(900)]
    assert statistics.variance(counts) / statistics.mean(counts) < 1.3
    assert len(set(placed)) == len(placed)


def test_a_pause_of_a_coarse_clock_stays_a_pause():
    placed = spread([0.0] * 10 + [3.0] * 10 + [60.0] * 10, 3.0, 61.0, 1)
    assert not [at for at in placed if 6 < at < 60]
    assert placed[-1] <= 61


def test_a_fine_clock_is_left_alone():
    instants = [0.1 * n for n in range(100)] + [50.0, 50.0]
    assert tick_s(instants) == 0
    assert spread(instants, 0.0, 60.0, 1) == instants


def test_facts_say_what_the_window_holds():
    trace = Trace((Row(0, 100, 10), Row(1, 300, 30), Row(100, 200, 20)), 200.0, "a" * 64)
    facts = trace.facts()
    assert (facts.requests, facts.seconds, facts.mean_rps) == (3, 200, 0.015)
    assert (facts.input_tokens, facts.output_tokens) == (200, 20)
    assert facts.busiest_minute_rps == pytest.approx(2 / 60, rel=1e-3)


def test_a_window_of_less_than_a_minute_is_as_busy_as_its_mean():
    assert busiest([0, 1, 2], 10) == 0.3
