"""``estimate --rows FILE.csv [-o csv|json]``: recorded runs written back with what the estimator says of each."""

import argparse
import csv
import io
from collections import Counter

from rightsizer_cli import offline
from rightsizer_cli.failure import OK, REFUSED, USAGE, Failure
from rightsizer_cli.files import named, text_of
from rightsizer_cli.plain import as_json
from rightsizer_operator.sizing.estimate import rows
from rightsizer_operator.sizing.estimate.failures import NotEstimable

ADDED = ("estimated_ttft_ms", "estimated_tpot_ms", "reason")


def run(options: argparse.Namespace) -> int:
    columns, records = _read(options.rows)
    model = offline.the_model(options.model_config, "") if options.model_config else None
    gpus = offline.gpu_facts(options.gpus)
    efficiencies = offline.efficiency_facts(options.efficiencies, gpus)
    try:
        rows.check_columns(columns)
        parsed = [rows.parsed(record, line) for line, record in records]
        rows.check_models(parsed, model)
    except NotEstimable as problem:
        raise Failure(REFUSED, f"{named(options.rows)}: {problem}", problem.remedy) from None
    estimates = [rows.estimate(row, model=model, gpus=gpus, efficiencies=efficiencies) for row in parsed]
    done = [{**record, **_added(found)} for (_, record), found in zip(records, estimates, strict=True)]
    names = [*(name for name in columns if name not in ADDED), *ADDED]
    print(_as_csv(names, done) if options.output == "csv" else as_json(done))
    return OK


def _read(path: str) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Columns, and the records with their lines."""
    reader = csv.DictReader(io.StringIO(text_of(path), newline=""))
    try:
        columns = list(reader.fieldnames or ())
    except csv.Error as error:
        raise _no_csv(path, str(error)) from None
    _refuse_twins(path, columns)
    records = []
    try:
        for record in reader:
            if None in record or None in record.values():
                said = f"{named(path)}: line {reader.line_num} has not as many fields as the first line names"
                raise Failure(USAGE, said, "Correct the file: one value for each column.")
            records.append((reader.line_num, record))
    except csv.Error as error:
        raise _no_csv(path, f"after line {reader.line_num}: {error}") from None
    return columns, records


def _refuse_twins(path: str, columns: list[str]) -> None:
    """Of two columns of one name the last would be estimated, and written back as both."""
    for name, times in Counter(columns).items():
        if times > 1:
            said = f"{named(path)}: columns: {name!r} stands {times} times in the first line"
            raise Failure(REFUSED, said, "Rename or remove all but one of them.")


def _no_csv(path: str, why: str) -> Failure:
    return Failure(
        USAGE, f"{named(path)} cannot be read as CSV: {why}", "Name columns in the first line, a run in each other."
    )


def _added(found: rows.RowEstimate) -> dict[str, str]:
    ttft = "" if found.ttft_ms is None else f"{found.ttft_ms:.3f}"
    tpot = "" if found.tpot_ms is None else f"{found.tpot_ms:.4f}"
    return dict(zip(ADDED, (ttft, tpot, found.reason), strict=True))


def _as_csv(columns: list[str], records: list[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue().rstrip("\n")
