"""Batching settings on both engines' command lines; what the user's own flags fix, or the engine would refuse, excludes
the candidate by name.
"""

import json

import pytest

from rightsizer_operator.manifests.serving import Excluded
from rightsizer_operator.resource.run import Batching
from tests.manifests.test_candidates import a_baseline_of, candidate, flags_of


def trtllm(*args):
    return a_baseline_of("/m", *args, image="engines/tensorrt-llm:1.2", command=("trtllm-serve",))


def with_settings(found, max_num_seqs=None, **settings):
    return candidate(found, max_num_seqs=max_num_seqs, batching=Batching(**settings))


@pytest.mark.parametrize(
    ("settings", "flag", "values"),
    [
        ({"max_num_seqs": 512}, "--max-num-seqs", ("512",)),
        ({"max_num_batched_tokens": 4096}, "--max-num-batched-tokens", ("4096",)),
        ({"chunked_prefill": True}, "--enable-chunked-prefill", ()),
        ({"memory_percent": 95}, "--gpu-memory-utilization", ("0.95",)),
        ({"graph_size": 1024}, "--max-cudagraph-capture-size", ("1024",)),
    ],
)
def test_vllm_is_told_by_flags(settings, flag, values):
    found = a_baseline_of("/m", "--port", "8000")
    assert flags_of(with_settings(found, **settings))[flag] == values


@pytest.mark.parametrize(
    ("settings", "flag", "values"),
    [
        ({"max_num_seqs": 512}, "--max-batch-size", ("512",)),
        ({"max_num_batched_tokens": 4096}, "--max-num-tokens", ("4096",)),
        ({"chunked_prefill": True}, "--enable-chunked-prefill", ()),
    ],
)
def test_tensorrt_llm_is_told_by_flags_of_its_own_spelling(settings, flag, values):
    serving = with_settings(trtllm(), **settings)
    assert flags_of(serving)[flag] == values
    assert "--" + flag[2:].replace("-", "_") in serving.args


def test_tensorrt_llm_is_told_memory_and_graphs_by_its_yaml():
    serving = with_settings(trtllm(), memory_percent=95, graph_size=512)
    config = json.loads(serving.engine_config)
    assert config["kv_cache_config"] == {"free_gpu_memory_fraction": 0.95}
    assert config["cuda_graph_config"] == {"max_batch_size": 512, "enable_padding": True}
    assert "--config" in flags_of(serving)


def test_a_memory_flag_that_is_there_already_is_changed_as_it_was_spelled():
    serving = with_settings(trtllm("--kv_cache_free_gpu_memory_fraction", "0.8"), memory_percent=95)
    assert serving.args[serving.args.index("--kv_cache_free_gpu_memory_fraction") + 1] == "0.95"
    assert serving.engine_config == ""
    vllm = with_settings(a_baseline_of("/m", "--gpu-memory-utilization=0.8"), memory_percent=95)
    assert "--gpu-memory-utilization=0.95" in vllm.args


def test_chunked_prefill_is_turned_off_only_where_a_step_holds_the_longest_prompt():
    fits = a_baseline_of("/m", "--max-model-len", "4096", "--max-num-batched-tokens", "8192")
    flags = flags_of(with_settings(fits, chunked_prefill=False))
    assert "--no-enable-chunked-prefill" in flags
    assert "--enable-chunked-prefill" not in flags
    for args in (
        ["/m"],
        ["/m", "--max-model-len", "8k"],
        ["/m", "--max-model-len", "8192", "--max-num-batched-tokens=4096"],
    ):
        with pytest.raises(Excluded, match="without chunked prefill"):
            with_settings(a_baseline_of(*args), chunked_prefill=False)


FIXED = {
    "a cache of so many bytes": (["/m", "--kv-cache-memory-bytes", "9"], {"memory_percent": 95}, "--kv-cache-memory"),
    "no graphs at all": (["/m", "--enforce-eager"], {"graph_size": 1024}, "--enforce-eager"),
    "graph sizes one by one": (["/m", "--cudagraph-capture-sizes", "1", "2"], {"graph_size": 1024}, "capture-sizes"),
    "a step smaller than the batch": (
        ["/m", "--max-num-seqs", "1024"], {"max_num_batched_tokens": 512}, "--max-num-batched-tokens 512",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FIXED, ids=list(FIXED))
def test_what_the_targets_own_flags_fix_is_excluded_by_name(what):
    args, settings, word = FIXED[what]
    with pytest.raises(Excluded, match=word):
        with_settings(a_baseline_of(*args), **settings)


def test_settings_stand_beside_each_other_and_beside_other_levers():
    found = a_baseline_of("/m", "--port", "8000")
    serving = candidate(
        found, kv_cache="FP8", max_num_seqs=256, batching=Batching(max_num_batched_tokens=2048, memory_percent=95)
    )
    flags = flags_of(serving)
    assert flags["--kv-cache-dtype"] == ("fp8",)
    assert flags["--max-num-seqs"] == ("256",)
    assert flags["--max-num-batched-tokens"] == ("2048",)
    assert flags["--gpu-memory-utilization"] == ("0.95",)
