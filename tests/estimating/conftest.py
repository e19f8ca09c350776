"""The estimator from the inside (facts, memory, steps, batching, rates) and its two commands from the outside.

Nothing here starts anything: configurations and files in, figures and text out. How far the figures are from real ones:
``benchmarks/estimator_accuracy.py``, of which ``test_recordings.py`` repeats the essence.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from rightsizer_operator.sizing.estimate import questions, tables
from rightsizer_operator.sizing.estimate.memory import Configuration
from rightsizer_operator.sizing.estimate.questions import Question, Serving

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def configuration() -> Callable[..., Configuration]:
    """A replica of a published model on a known GPU."""

    def made(
        model: str = "Llama-3.1-70B", gpu: str = "H100-SXM", engine: str = "VLLM", **given: object
    ) -> Configuration:
        facts, product = tables.published_model(model), tables.gpu(gpu)
        assert facts is not None
        assert product is not None
        fields = {"weights": facts.weights, "kv_format": facts.kv_format, **given}
        return Configuration(model=facts, gpu=product, rules=tables.ENGINES[engine], **fields)  # type: ignore[arg-type]

    return made


@pytest.fixture
def asked() -> Callable[..., Question]:
    """A question about Llama 3.1 70B on H100; a test states only what matters."""

    def made(model: str = "Llama-3.1-70B", gpu: str = "H100-SXM", **given: object) -> Question:
        facts, product = tables.published_model(model), tables.gpu(gpu)
        assert facts is not None
        assert product is not None
        fields = {
            "serving": Serving(parallelism=4, replicas=1),
            "percentile": 95,
            "limits_ms": {"ttft": 1500.0, "tpot": 60.0},
            "input_tokens": 1000,
            "output_tokens": 200,
            "demand_rps": 4.0,
            "steady": False,
            "engines": ("VLLM",),
            "precisions": ("AsIs", "FP8"),
            "kv_types": ("Auto",),
            "batch_limits": (),
            "most_gpus": 4,
            "gpu_hourly": "4.00",
        }
        return questions.Question(model=facts, gpu=product, **{**fields, **given})  # type: ignore[arg-type]

    return made


@pytest.fixture
def manifest(tmp_path: Path) -> Callable[..., Path]:
    """The 70B example as a file, with fields of its spec changed by dotted path; None takes a field away."""

    def made(**changes: object) -> Path:
        document = yaml.safe_load((REPOSITORY / "examples/llama-70b.yaml").read_text())
        for path, value in changes.items():
            *parents, last = path.split("__")
            place = document["spec"]
            for parent in parents:
                place = place.setdefault(parent, {})
            if value is None:
                place.pop(last, None)
            else:
                place[last] = value
        file = tmp_path / "infdep.yaml"
        file.write_text(yaml.safe_dump(document))
        return file

    return made
