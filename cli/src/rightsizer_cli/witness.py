"""The command of aiperf that repeats a certified rate: an independent tool, which shares no code with Rightsizer.

Pure. Called by ``assemble`` for a run's certificate and by the benchmark that runs both on one engine.
"""

from rightsizer_jobs.contract import Slo
from rightsizer_jobs.workload import deviation_of
from rightsizer_operator.sizing import patience
from rightsizer_operator.sizing.workload import Resolved

WARMUP_S = 20


def command(
    *,
    served_model_name: str,
    tokenizer: str,
    url: str,
    api: str,
    load: Resolved,
    slo: Slo,
    rate_rps: float,
    seconds: float,
    seed: int,
) -> list[str]:
    """Words of the command; ``load`` is no trace's: aiperf cannot be asked for the certified rate of one."""
    inputs, outputs = deviation_of(load.inputs or 0), deviation_of(load.outputs or 0)
    smooth = () if load.burstiness is None else ("--arrival-smoothness", f"{load.burstiness:g}")
    request_s, token_s = patience.allowed(slo)
    longest_s = request_s + token_s * patience.longest_output(load.outputs)
    return [
        "aiperf", "profile", "-m", served_model_name, "--tokenizer", tokenizer, "--url", url,
        "--endpoint-type", api.lower(), "--streaming",
        "--warmup-duration", str(WARMUP_S), "--warmup-request-rate", f"{rate_rps:g}",
        "--synthetic-input-tokens-mean", f"{load.input_tokens:.6g}",
        "--synthetic-input-tokens-stddev", f"{inputs:.4g}", "--output-tokens-mean", f"{load.output_tokens:.6g}",
        *(("--output-tokens-stddev", f"{outputs:.4g}") if outputs else ()), "--extra-inputs", "ignore_eos:true",
        "--request-rate", f"{rate_rps:g}", "--arrival-pattern", load.arrivals.lower(), *smooth,
        "--benchmark-duration", f"{seconds:g}", "--benchmark-grace-period", f"{longest_s:.0f}",
        "--random-seed", str(seed),
        "--use-server-token-count", "--no-gpu-telemetry", "--no-server-metrics", "--ui", "none",
    ]  # fmt: skip
