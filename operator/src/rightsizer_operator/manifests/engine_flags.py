"""How the two engines spell their flags: aliases, which take no value, which take several. Data for ``engine_command``.

vLLM: argparse of 0.32-0.33, long options with ``-`` or ``_`` alike. TensorRT-LLM: click options of ``trtllm-serve``
1.2, spelled with ``_``. Canonical names are long and dashed for both. Nothing here decides what a candidate may change:
that is ``serving``.
"""

import re
from dataclasses import dataclass

MODEL = "--model"
SERVED_MODEL_NAME = "--served-model-name"
HOST = "--host"
PORT = "--port"
CONFIG = "--config"
TENSOR_PARALLEL = "--tensor-parallel-size"
PIPELINE_PARALLEL = "--pipeline-parallel-size"
DATA_PARALLEL = "--data-parallel-size"
KV_CACHE_DTYPE = "--kv-cache-dtype"
MAX_NUM_SEQS = "--max-num-seqs"
MAX_BATCH_SIZE = "--max-batch-size"
MAX_BATCHED_TOKENS = "--max-num-batched-tokens"
MAX_NUM_TOKENS = "--max-num-tokens"
CHUNKED_PREFILL = "--enable-chunked-prefill"
NO_CHUNKED_PREFILL = "--no-enable-chunked-prefill"
MEMORY_UTILIZATION = "--gpu-memory-utilization"
MAX_GRAPH = "--max-cudagraph-capture-size"
MEMORY_FRACTION = "--free-gpu-memory-fraction"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One engine's way of spelling. ``several`` flags take every value up to the next flag; a name matching
    ``switches`` takes none."""

    aliases: dict[str, str]
    switches: re.Pattern[str]
    valued: frozenset[str]
    several: frozenset[str]
    separator: str
    unabbreviated: frozenset[str]
    """Names the operator reads or sets: an abbreviation of one of them, which the engine would accept, is refused."""

    def canonical(self, spelled: str) -> str:
        """Long dashed name: ``-tp`` and ``--tensor_parallel_size`` are both ``--tensor-parallel-size``."""
        if not spelled.startswith("--"):
            return self.aliases.get(spelled, spelled)
        # Only up to the first dot: --compilation-config.cudagraph_mode names a key of a JSON value.
        name, dot, key = spelled.partition(".")
        dashed = "--" + name[2:].replace("_", "-")
        return self.aliases.get(dashed, dashed) + dot + key

    def spell(self, canonical: str) -> str:
        """How a flag that we add is written for this engine."""
        return "--" + canonical[2:].replace("-", self.separator)

    def takes_value(self, canonical: str) -> bool:
        return canonical in self.valued or not self.switches.fullmatch(canonical)


VLLM = Dialect(
    aliases={
        "-tp": TENSOR_PARALLEL,
        "-pp": PIPELINE_PARALLEL,
        "-dp": DATA_PARALLEL,
        "-q": "--quantization",
        "-sc": "--speculative-config",
        "-cc": "--compilation-config",
        "-ac": "--attention-config",
        "-dcp": "--decode-context-parallel-size",
        "-pcp": "--prefill-context-parallel-size",
        "-ep": "--enable-expert-parallel",
        "-asc": "--api-server-count",
        "-n": "--nnodes",
        "-r": "--node-rank",
        "-O": "--optimization-level",
        "--device-memory-utilization": MEMORY_UTILIZATION,
    },
    switches=re.compile(
        r"--(enable|disable|no|trust|return)-.*|-O.+|-h|-dp[ehm]"
        r"|--(enforce-eager|async-scheduling|headless|grpc|help|aggregate-engine-logging|allow-credentials|allow-deprecated-quantization"
        r"|fully-sharded-loras|kv-cache-metrics|kv-sharing-fast-prefill|language-model-only|log-error-stack|numa-bind|skip-tokenizer-init"
        r"|scheduler-reserve-full-isl|use-tqdm-on-load|cudagraph-metrics|data-parallel-(external|hybrid)-lb|fail-on-environ-validation)"
    ),
    valued=frozenset({"--disable-access-log-for-endpoints"}),
    several=frozenset({
        SERVED_MODEL_NAME, "--lora-modules", "--allowed-media-domains", "--api-key", "--collect-detailed-traces",
        "--cpu-offload-params", "--cudagraph-capture-sizes", "--ignore-patterns", "--kv-cache-dtype-skip-layers",
        "--logits-processors", "--lora-target-modules", "--numa-bind-cpus", "--numa-bind-nodes", "--offload-params",
        "--sleep-preserve-parameter-names",
    }),
    separator="-",
    unabbreviated=frozenset({
        MODEL, SERVED_MODEL_NAME, HOST, PORT, CONFIG, TENSOR_PARALLEL, PIPELINE_PARALLEL, DATA_PARALLEL, KV_CACHE_DTYPE,
        MAX_NUM_SEQS, "--quantization", "--api-key", "--ssl-keyfile", "--uds", "--load-format",
        MAX_BATCHED_TOKENS, MEMORY_UTILIZATION, MAX_GRAPH, CHUNKED_PREFILL, NO_CHUNKED_PREFILL,
    }),
)  # fmt: skip

TENSORRT_LLM = Dialect(
    aliases={
        "--tp-size": TENSOR_PARALLEL,
        "--pp-size": PIPELINE_PARALLEL,
        "--cp-size": "--context-parallel-size",
        "--ep-size": "--moe-expert-parallel-size",
        "--cluster-size": "--moe-cluster-parallel-size",
        "--kv-cache-free-gpu-memory-fraction": MEMORY_FRACTION,
        "--extra-llm-api-options": CONFIG,
    },
    switches=re.compile(r"--(trust-remote-code|enable-chunked-prefill|fail-fast-on-attention-window-too-large|help)"),
    valued=frozenset(),
    several=frozenset(),
    separator="_",
    unabbreviated=frozenset(),  # click accepts no abbreviation
)

DIALECTS = {"VLLM": VLLM, "TensorRTLLM": TENSORRT_LLM}
