"""aiperf at one point, in an environment of its own: an independent witness, no dependency.

``install`` makes the environment in the project's cache folder, once; ``run_at`` calls it and reads its records.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.accuracy.comparing import MS, Seen, Told
from e2e.embedded import places

VERSION = "0.13.0"

TOKENIZER = """
import sys
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
letters = sorted(pre_tokenizers.ByteLevel.alphabet())
made = Tokenizer(models.BPE(vocab={letter: n for n, letter in enumerate(["<eos>", *letters])}, merges=[]))
made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
whole = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<eos>", bos_token="<eos>", pad_token="<eos>")
whole.save_pretrained(sys.argv[1])
"""
"""A token for each byte: aiperf needs a tokenizer to make prompts, and the ones it knows are downloaded."""


class Unavailable(RuntimeError):
    """aiperf cannot be had here."""


def install() -> Path:
    """The folder of the environment; raises Unavailable."""
    folder = places.cache(os.environ) / f"aiperf-{VERSION}"
    if (folder / "installed").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    uv = places.REPOSITORY / "build/boot/bin/uv"
    python = str(folder / "bin/python")
    for command in (
        [str(uv), "venv", "--quiet", "--python", str(places.REPOSITORY / "build/boot/bin/python"), str(folder)],
        [str(uv), "pip", "install", "--quiet", "-p", python, f"aiperf=={VERSION}"],
        [python, "-c", TOKENIZER, str(folder / "tokenizer")],
    ):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(str(error)) from error
        if done.returncode:
            raise Unavailable((done.stderr.strip().splitlines() or [f"{command[0]} failed"])[-1][:200])
    (folder / "installed").touch()
    return folder


def command(folder: Path, url: str, rate: float, tokens: int, seconds: float, output: str) -> list[str]:
    """As in ``rightsizer report``, with the options that make it tell every request."""
    return [
        str(folder / "bin/aiperf"), "profile", "-m", "m", "--tokenizer", str(folder / "tokenizer"), "--url", url,
        "--endpoint-type", "completions", "--streaming", "--request-rate", f"{rate:g}", "--arrival-pattern", "poisson",
        "--warmup-duration", "2", "--warmup-request-rate", f"{rate:g}", "--benchmark-duration", f"{seconds:g}",
        "--benchmark-grace-period", "10", "--random-seed", "3", "--use-server-token-count",
        "--isl", "200", "--isl-stddev", "0", "--osl", str(tokens), "--osl-stddev", "0",
        "--extra-inputs", "ignore_eos:true", "--export-level", "records", "--no-gpu-telemetry", "--no-server-metrics",
        "--ui", "none", "--output-artifact-dir", output,
    ]  # fmt: skip


def run_at(folder: Path, url: str, rate: float, tokens: int, seconds: float) -> Told:
    """Raises Unavailable with aiperf's own words when it fails."""
    with tempfile.TemporaryDirectory() as output:
        done = subprocess.run(
            command(folder, url, rate, tokens, seconds, output),
            capture_output=True, text=True, timeout=seconds + 600, check=False,
            env={**os.environ, "AIPERF_SERVICE_REGISTRATION_TIMEOUT": "180"},
        )  # fmt: skip
        found = lines_of(done, Path(output))
    whole = [line for line in found if not line.get("error") and not line["metadata"]["was_cancelled"]]
    return Told("aiperf", [seen(line) for line in whole], len(found) - len(whole), seconds)


def lines_of(done: subprocess.CompletedProcess[str], output: Path) -> list[dict]:
    """The records of a run's measured phase, a line a request; raises Unavailable with aiperf's own words."""
    records = output / "profile_export.jsonl"
    lines = records.read_text().splitlines() if records.exists() else []
    found = [line for line in map(json.loads, lines) if line["metadata"]["benchmark_phase"] == "profiling"]
    if not found:
        words = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
        raise Unavailable(f"aiperf left no records: {(words or ['no error told'])[0][:200]}")
    return found


def seen(line: dict) -> Seen:
    metrics, metadata = line["metrics"], line["metadata"]
    return Seen(
        key=metadata["x_request_id"],
        ttft_ms=next(milliseconds(metrics["time_to_first_token"])),
        tpot_ms=next(milliseconds(metrics["inter_token_latency"])),
        gaps_ms=list(milliseconds(metrics["inter_chunk_latency"])) if "inter_chunk_latency" in metrics else [],
        lag_ms=(metadata["request_start_ns"] - metadata["credit_issued_ns"]) / MS,
    )


def milliseconds(metric: dict) -> Iterator[float]:
    scale = {"ms": 1.0, "ns": 1e-6, "sec": 1e3, "s": 1e3}[metric["unit"]]
    values = metric["value"] if isinstance(metric["value"], list) else [metric["value"]]
    return (value * scale for value in values)
