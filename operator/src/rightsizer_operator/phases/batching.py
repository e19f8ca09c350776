"""Batching settings as candidates: the engine's defaults come first, then one setting at a time is moved on the leader.
Called by ``measure``.

A setting that improves makes the new leader, from which the next is tried; one that does not is left. Nothing is tried
where no setting can be expected to save an accelerator.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rightsizer_operator.manifests import engine_command, engine_flags
from rightsizer_operator.manifests.engine_batching import NOTHING
from rightsizer_operator.manifests.engine_command import EngineCommand
from rightsizer_operator.phases import plan
from rightsizer_operator.phases.accept import Accepted
from rightsizer_operator.phases.view import View
from rightsizer_operator.resource.run import Batching, Candidate
from rightsizer_operator.sizing.estimate import tables

MOST_DERIVED = 8
"""Derived candidates of one run: each costs an engine start, and so many fit the status beside the base ones."""
MOST_GAIN = 1.5
"""How much a batching setting may be hoped to raise a replica's rate; where more is needed, none is tried."""
FULL_MEMORY_PERCENT = 95
GRAPHS = {"VLLM": 1024, "TensorRTLLM": 512}
"""Largest captured batch to try: vLLM captures up to 512 by itself, TensorRT-LLM up to 128."""
MOST_VALUE = 32_768
"""Batch limits and tokens of a step beyond it are not doubled."""
VLLM_DEFAULTS = ((160.0, 1024, 16_384), (70.0, 1024, 8192), (0.0, 256, 2048))
"""From so many GiB on: batch limit and tokens of a step (``EngineArgs.get_batch_defaults``). A100 has the last."""
TENSORRT_LLM_DEFAULTS = (2048, 8192)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting changed on the leader. ``word``: what is appended to the leader's id."""

    word: str
    max_num_seqs: int | None
    batching: Batching


def next_setting(view: View, frozen: Accepted) -> Candidate | None:
    """The next setting to be tried on the leader, as a candidate; None where there is none that is not known already.

    ``frozen``: the run's own inputs.
    """
    best = leader(view)
    if best is None or len(view.status.derived) >= MOST_DERIVED:
        return None
    run, known = view.run.spec, [one.candidate for one in view.standings]
    for setting in beside(best, _origin(best, known), run.accepted.search.batching, run.accelerator_type):
        made = plan.derive(
            best, setting.max_num_seqs, frozen, view.world.settings, word=setting.word, batching=setting.batching
        )
        if all(made.id != one.id and made.serving != (one.serving or "") for one in known):
            return made
    return None


def _origin(candidate: Candidate, known: Sequence[Candidate]) -> Candidate:
    """The base candidate that a derived one goes back to."""
    by_id = {one.id: one for one in known}
    while candidate.parent in by_id:
        candidate = by_id[candidate.parent]
    return candidate


def leader(view: View) -> Candidate | None:
    """Whose settings are worth moving: the best plan, where a gain of MOST_GAIN would save an accelerator."""
    if not view.plans:
        return None
    best = view.plans[0]
    smaller = view.needed(best.standing, best.gpus)
    if smaller is None or smaller > MOST_GAIN * best.standing.rate_rps:
        return None
    return best.standing.candidate


def beside(candidate: Candidate, origin: Candidate, levers: tuple[str, ...], product: str) -> Iterator[Setting]:
    """The leader with one setting moved one step, in the order of trial.

    ``origin``: what the leader was derived from at first; a setting that has been moved goes on the same way only.
    """
    command, start = _command(candidate), _command(origin)
    sequences, tokens = _defaults(candidate.engine, product)
    now, limit = candidate.batching or NOTHING, candidate.max_num_seqs
    other = candidate.engine == "TensorRTLLM"
    if "MaxNumSeqs" in levers:
        flag = engine_flags.MAX_BATCH_SIZE if other else engine_flags.MAX_NUM_SEQS
        for value in _next_values(command, start, flag, sequences):
            yield Setting(f"seqs{value}", value, now)
    if "MaxNumBatchedTokens" in levers:
        flag = engine_flags.MAX_NUM_TOKENS if other else engine_flags.MAX_BATCHED_TOKENS
        for value in _next_values(command, start, flag, tokens):
            yield Setting(f"tokens{value}", limit, now.model_copy(update={"max_num_batched_tokens": value}))
    if "ChunkedPrefill" in levers and now.chunked_prefill is None:
        on = not _chunked(command)
        yield Setting("chunks" if on else "nochunks", limit, now.model_copy(update={"chunked_prefill": on}))
    if "MemoryFraction" in levers and now.memory_percent is None:
        full = now.model_copy(update={"memory_percent": FULL_MEMORY_PERCENT})
        yield Setting(f"mem{FULL_MEMORY_PERCENT}", limit, full)
    if "GraphSizes" in levers and now.graph_size is None:
        size = GRAPHS[candidate.engine]
        yield Setting(f"graphs{size}", limit, now.model_copy(update={"graph_size": size}))


def _command(candidate: Candidate) -> EngineCommand:
    assert candidate.serving is not None
    serving = candidate.serving
    return engine_command.parse({"image": serving.image, "command": serving.command, "args": serving.args})


def _next_values(command: EngineCommand, start: EngineCommand, flag: str, default: int) -> tuple[int, ...]:
    """Twice and half of what is set, or only the way that it has been moved; nothing where it is no plain number."""
    value, first = _number(command.value(flag), default), _number(start.value(flag), default)
    if not 1 < value <= MOST_VALUE or not first:
        return ()
    ways = ((2 * value, value >= first), (value // 2, value <= first))
    return tuple(next_value for next_value, open_way in ways if open_way)


def _number(text: str | None, default: int) -> int:
    """0 for what is no plain number, such as 8k."""
    given = text or str(default)
    return int(given) if given.isascii() and given.isdigit() else 0


def _chunked(command: EngineCommand) -> bool:
    """vLLM cuts prompts unless told not to, TensorRT-LLM only when told to."""
    if command.engine == "TensorRTLLM":
        return command.find(engine_flags.CHUNKED_PREFILL) is not None
    return command.find(engine_flags.NO_CHUNKED_PREFILL) is None


def _defaults(engine: str, product: str) -> tuple[int, int]:
    """The batch limit and the tokens of a step that an engine has by itself."""
    if engine == "TensorRTLLM":
        return TENSORRT_LLM_DEFAULTS
    gpu = tables.gpu(product) if product else None
    memory = 0.0 if gpu is None or gpu.name.startswith("A100") else gpu.memory_gib
    return next((limit, tokens) for least, limit, tokens in VLLM_DEFAULTS if memory >= least)
