"""Bad objects are refused by the API server with a message that names the field and what is wanted instead.

One line each: what is wrong, where, the bad value, a part of the message. The types refuse the same ones: the operator
stops at an object that predates a rule.
"""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from tests.resources import samples
from tests.resources.samples import ABSENT

Refusal = Callable[[samples.Object], str]

PATH = "must be a path relative to the root of the modelCache volume"
DECIMAL = 'must be a decimal number as text, with at most 6 decimals, e.g. "5.5"'
LENGTHS = {"inputTokens": 1, "outputTokens": 1}
STATIC = {"inputTokens": 1, "outputTokens": 1, "requestRate": "1"}
SHAPE = {"layers": 32, "hiddenSize": 4096, "heads": 32, "intermediateSize": 14336, "vocabulary": 128256}
EXPERTS = {"count": 8, "perToken": 2, "intermediateSize": 14336}
NO_INPUT = {"outputTokens": 1, "requestRate": "1"}
BINS = [{"tokens": 5, "weight": 1}]
TRACE = {"path": "traces/chat.csv"}
BAD: tuple[tuple[str, str, Any, str], ...] = (
    ("no target", "targetRef", ABSENT, "spec.targetRef: Required value"),
    ("no name of the target", "targetRef.name", ABSENT, "spec.targetRef.name: Required value"),
    ("an empty target name", "targetRef.name", "", "spec.targetRef.name"),
    ("capitals in the target name", "targetRef.name", "Support", "must be the name of an object: lower-case letters"),
    ("a target name that is a path", "targetRef.name", "../x", "must be the name of an object: lower-case letters"),
    ("a target name that is too long", "targetRef.name", "a" * 254, "may not be more than 253"),
    ("another kind of target", "targetRef.kind", "StatefulSet", 'supported values: "Deployment"'),
    ("another API of the target", "targetRef.apiVersion", "serving.kserve.io/v1beta1", 'supported values: "apps/v1"'),
    ("a bad container name", "targetRef.container", "En_gine", "must be the name of a container"),
    ("a flag as text", "targetRef.takeOwnership", "true", "must be of type boolean"),
    ("no model", "model", ABSENT, "spec.model: Required value"),
    ("a model that is a URL", "model.name", "https://models.example/llama", "must be a model name such as"),
    ("a model that looks like a flag", "model.name", "--trust-remote-code", "must be a model name such as"),
    ("no path of the weights", "model.path", ABSENT, "spec.model.path: Required value"),
    ("an absolute path", "model.path", "/models/base", PATH),
    ("a path that climbs out", "model.path", "base/../../etc", PATH),
    ("a path with a newline", "model.path", "base\n", PATH),
    ("weights among the artefacts", "model.path", "artefacts/llama-int8", "must not lie under artefacts/ or runs/"),
    ("a revision with spaces", "model.revision", "main branch", "must be a revision: letters, digits"),
    ("KV heads that do not divide heads", "model.architecture", {**SHAPE, "kvHeads": 5}, "must divide heads"),
    (
        "more experts a token than there are",
        "model.architecture",
        {**SHAPE, "experts": {**EXPERTS, "perToken": 9}},
        "must not exceed count",
    ),
    (
        "more dense layers than layers",
        "model.architecture",
        {**SHAPE, "experts": {**EXPERTS, "denseLayers": 33}},
        "denseLayers must not exceed layers",
    ),
    (
        "more layers with a window than layers",
        "model.architecture",
        {**SHAPE, "slidingWindow": {"tokens": 128, "layers": 33}},
        "its layers must not exceed layers of the model",
    ),
    ("a model without layers", "model.architecture", {**SHAPE, "layers": 0}, "should be greater than or equal to 1"),
    ("a weight format nobody knows", "model.architecture", {**SHAPE, "weights": "INT2"}, "Unsupported value"),
    ("a strategy nobody knows", "search.strategy", "Guess", 'supported values: "Thorough", "Rapid"'),
    ("no claim", "modelCache.claimName", ABSENT, "spec.modelCache.claimName: Required value"),
    ("a claim of another namespace", "modelCache.claimName", "other/models", "must be the name of an object"),
    ("an accelerator without domain", "accelerator.resource", "gpu", "with its domain, e.g. nvidia.com/gpu"),
    ("an accelerator type with spaces", "accelerator.type", "NVIDIA H100", "must be a product as node labels name it"),
    ("no limit at all", "slo", {}, "set at least one limit: ttftMs, itlMs, tpotMs or e2eMs"),
    ("a limit of zero", "slo.ttftMs", 0, "should be greater than or equal to 1"),
    ("a limit as text", "slo.ttftMs", "800ms", "must be of type integer"),
    ("a limit with decimals", "slo.ttftMs", 0.8, "spec.slo.ttftMs"),
    ("a first token after the last", "slo", {"ttftMs": 900, "e2eMs": 800}, "spec.slo.ttftMs: Invalid value"),
    ("a gap longer than the whole", "slo", {"itlMs": 900, "e2eMs": 800}, "lower it or raise e2eMs"),
    ("a percentile of 100", "slo.percentile", 100, "should be less than or equal to 99"),
    ("an unknown interface", "workload.api", "Responses", 'supported values: "Completions", "Chat"'),
    ("no demand", "workload", {}, "set exactly one of static, trace, prometheus"),
    ("two demands", "workload", {"static": STATIC, "trace": TRACE}, "set exactly one of static, trace, prometheus"),
    (
        "no input length",
        "workload.static.inputTokens",
        ABSENT,
        "set exactly one of inputTokens and inputTokensHistogram",
    ),
    (
        "two output lengths",
        "workload.static.outputTokensHistogram",
        [{"tokens": 5, "weight": 1}],
        "set exactly one of outputTokens and outputTokensHistogram",
    ),
    (
        "a percentile below the mean",
        "workload.static.inputTokensP95",
        1,
        "must lie between 1 and 3.8 times inputTokens",
    ),
    ("a percentile far above the mean", "workload.static.outputTokensP95", 9999, "use outputTokensHistogram for other"),
    (
        "a percentile without a mean",
        "workload.static",
        {"inputTokensHistogram": BINS, "inputTokensP95": 50, "outputTokens": 1, "requestRate": "1"},
        "needs inputTokens, the mean",
    ),
    ("an empty histogram", "workload.static", {**NO_INPUT, "inputTokensHistogram": []}, "should have at least 1 items"),
    ("a length twice", "workload.static", {**NO_INPUT, "inputTokensHistogram": BINS * 2}, "Duplicate value"),
    (
        "gamma arrivals of no shape",
        "workload.static.arrivals",
        "Gamma",
        "is set where arrivals is Gamma, and only there",
    ),
    (
        "a burstiness of nothing",
        "workload.static",
        {**STATIC, "arrivals": "Gamma", "burstiness": "0"},
        "greater than 0",
    ),
    ("burstiness without gamma", "workload.static.burstiness", "2", "is set where arrivals is Gamma, and only there"),
    ("a trace outside the volume", "workload", {"trace": {"path": "../t.csv"}}, PATH),
    ("a trace without a file", "workload", {"trace": {}}, "spec.workload.trace.path: Required value"),
    ("an unknown format", "workload", {"trace": {**TRACE, "format": "Vidur"}}, 'supported values: "Azure"'),
    (
        "a demand stated twice",
        "workload",
        {"trace": {**TRACE, "timeScale": "2", "requestRate": "3"}},
        "set timeScale or requestRate, not both",
    ),
    ("a trace scaled to nothing", "workload", {"trace": {**TRACE, "timeScale": "0"}}, "must be greater than 0"),
    ("an empty window", "workload", {"trace": {**TRACE, "durationSeconds": 0}}, "should be greater than or equal to 1"),
    ("a window before the trace", "workload", {"trace": {**TRACE, "startSeconds": -1}}, "greater than or equal to 0"),
    ("a window of years", "workload", {"prometheus": {**LENGTHS, "windowHours": 9000}}, "less than or equal to 2160"),
    ("a peak of a moment", "workload", {"prometheus": {**LENGTHS, "averageMinutes": 0}}, "greater than or equal to 1"),
    ("a nervous tolerance", "workload", {"prometheus": {**LENGTHS, "driftPercent": 1}}, "greater than or equal to 5"),
    (
        "no lengths for a peak",
        "workload",
        {"prometheus": {}},
        "set exactly one of inputTokens and inputTokensHistogram",
    ),
    ("a demand of zero", "workload.static.requestRate", "0.00", "must be greater than 0"),
    ("a negative demand", "workload.static.requestRate", "-1", DECIMAL),
    ("a demand as a number", "workload.static.requestRate", 5.5, "must be of type string"),
    ("a demand with a unit", "workload.static.requestRate", "5.5/s", DECIMAL),
    ("a demand in scientific notation", "workload.static.requestRate", "1e3", DECIMAL),
    ("headroom below zero", "sizing.headroomPercent", -1, "should be greater than or equal to 0"),
    ("headroom as text", "sizing.headroomPercent", "20%", "must be of type integer"),
    ("headroom of everything", "sizing.headroomPercent", 401, "should be less than or equal to 400"),
    ("half a spare replica", "sizing.spareReplicas", 0.5, "spec.sizing.spareReplicas"),
    ("a fleet of spare replicas", "sizing.spareReplicas", 17, "should be less than or equal to 16"),
    ("requests without input", "workload.static", {**STATIC, "inputTokens": 0}, "should be greater than or equal to 1"),
    (
        "unknown arrivals",
        "workload.static",
        {**STATIC, "arrivals": "Bursty"},
        'supported values: "Poisson", "Constant"',
    ),
    ("no question set", "quality.questionSet", ABSENT, "spec.quality.questionSet: Required value"),
    ("a question set outside the volume", "quality.questionSet.path", "../q.jsonl", PATH),
    ("a short digest", "quality.questionSet.sha256", "abc", "must be a SHA-256 digest: 64 hexadecimal digits"),
    ("too many questions", "quality.questionSet.questions", 14_201, "should be less than or equal to 14200"),
    ("a drop above all points", "quality.maxDropPoints", "100.5", "must be at most 100 percentage points"),
    ("no drop at all", "quality.maxDropPoints", "0", "must be greater than 0"),
    ("a drop in percent", "quality.maxDropPoints", "2%", DECIMAL),
    ("certainty", "quality.confidencePercent", 100, "should be less than or equal to 99"),
    ("an unknown engine", "search.engines", ["SGLang"], 'supported values: "VLLM", "TensorRTLLM"'),
    ("no engine", "search.engines", [], "should have at least 1 items"),
    ("an engine twice", "search.engines", ["VLLM", "VLLM"], "spec.search.engines[1]: Duplicate value"),
    ("precisions without the baseline", "search.precisions", ["INT8"], "must contain AsIs"),
    ("a precision twice", "search.precisions", ["AsIs", "INT8", "INT8"], "spec.search.precisions[2]: Duplicate value"),
    ("an unknown precision", "search.precisions", ["AsIs", "INT2"], "spec.search.precisions[1]: Unsupported value"),
    ("a KV cache twice", "search.kvCache", ["Auto", "Auto"], "spec.search.kvCache[1]: Duplicate value"),
    ("a batch limit of zero", "search.maxNumSeqs", [0], "spec.search.maxNumSeqs[0]"),
    ("too many batch limits", "search.maxNumSeqs", [1, 2, 3, 4, 5], "must have at most 4 items"),
    ("an unknown batching lever", "search.batching", ["Speculation"], "spec.search.batching[0]: Unsupported value"),
    (
        "a batching lever twice",
        "search.batching",
        ["GraphSizes", "GraphSizes"],
        "spec.search.batching[1]: Duplicate value",
    ),
    ("no GPU in a replica", "search.maxGPUsPerReplica", 0, "should be greater than or equal to 1"),
    ("a strategy that is not there", "search.strategy", "Guess", 'supported values: "Thorough"'),
    ("a budget of nothing", "search.budget.gpuHours", "0", "must be greater than 0"),
    ("a budget of no money", "search.budget.money", "0", "must be greater than 0"),
    ("money with its currency", "search.budget.money", "10 USD", DECIMAL),
    ("no trial", "search.budget.maxTrials", 0, "should be greater than or equal to 1"),
    ("a deadline of years", "search.budget.deadlineMinutes", 999_999, "should be less than or equal to 20160"),
    ("a probe of a second", "search.measurement.probeSeconds", 1, "should be greater than or equal to 5"),
    ("a price of nothing", "cost.gpuHourly", "0", "must be greater than 0"),
    ("a currency sign", "cost.currency", "$", "must be a currency code of three capitals"),
    ("half an API price", "cost.api", {"inputPerMillion": "1"}, "spec.cost.api.outputPerMillion: Required value"),
    ("an unknown mode", "updatePolicy.mode", "On", 'supported values: "Off", "Manual", "Auto"'),
    ("Off without quotes in YAML", "updatePolicy.mode", False, "spec.updatePolicy.mode: Invalid value"),
    ("an approval that is no hash", "updatePolicy.approvedProposal", "yes", "must be the hash of a proposal, 12"),
    ("a pause as text", "paused", "yes", "must be of type boolean"),
)


@pytest.mark.parametrize(("path", "value", "fragment"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_the_api_server_refuses_with_a_message_that_helps(
    refusal: Refusal, path: str, value: Any, fragment: str
) -> None:
    message = refusal(samples.changed(samples.infdep(), f"spec.{path}", value))
    assert fragment in message.replace("\\\\", "\\")
    assert f"spec.{path.split('.')[0]}" in message


@pytest.mark.parametrize(("path", "value"), [case[1:3] for case in BAD], ids=[case[0] for case in BAD])
def test_the_types_refuse_the_same(path: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        InferenceDeploymentSpec.model_validate(samples.changed(samples.infdep(), f"spec.{path}", value)["spec"])


def test_a_name_that_is_no_label_value_is_refused(refusal: Refusal) -> None:
    assert "metadata.name must have at most 63 characters" in refusal(samples.infdep(name="a" * 64))
    assert refusal(samples.infdep(name="a" * 63)) == ""


def test_an_object_without_spec_is_refused(refusal: Refusal) -> None:
    assert "spec: Required value" in refusal(samples.changed(samples.infdep(), "spec", ABSENT))


@pytest.mark.parametrize("mode", ["Off", "Auto"])
def test_what_approved_proposal_says_matters_in_manual_mode_only(refusal: Refusal, mode: str) -> None:
    policy = {"mode": mode, "approvedProposal": "to be decided"}
    assert refusal(samples.changed(samples.infdep(), "spec.updatePolicy", policy)) == ""
