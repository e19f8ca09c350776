"""No text of a user ever leaves a JSON value or changes what a Job runs."""

import json

from hypothesis import given
from hypothesis import strategies as st

from rightsizer_jobs.contract import load_assignment
from rightsizer_operator.manifests import baseline, jobs, serving, target
from tests.manifests.examples import (
    RUN_UID,
    a_baseline,
    a_compression,
    a_serving,
    a_spec,
    a_target,
    a_trial,
    an_engine,
    some_settings,
)

MARK = "canary"
PIECES = st.sampled_from(
    [
        "$(HOME)",
        "$$(X)",
        "$",
        "`id`",
        ";",
        "\n",
        "\r\n",
        '"',
        "'",
        "\\",
        "\u0000",
        "\u2028",
        "{}",
        "../",
        "-",
        "--api-key",
        " ",
        "é",
        "😀",
        "${IFS}",
        "&&",
        "|",
        "#",
        "%s",
        "{{x}}",
    ]
)
HOSTILE = st.lists(PIECES, min_size=1, max_size=8).map(lambda pieces: MARK + "".join(pieces))


def strings(node, path=()):
    """Every string of an object with its path; keys too."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield (*path, "key"), key
            yield from strings(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from strings(value, (*path, index))
    elif isinstance(node, str):
        yield path, node


def found_in(node):
    return {path for path, text in strings(node) if MARK in text}


def assignment_value(job):
    (container,) = job["spec"]["template"]["spec"]["containers"]
    (variable,) = [one for one in container["env"] if one["name"] == "RIGHTSIZER_ASSIGNMENT"]
    return variable["value"]


WHO = {
    "run_name": "r",
    "run_uid": RUN_UID,
    "infdep_name": "chat",
    "namespace": "ml",
    "target": a_target(),
    "settings": some_settings(),
    "spec": a_spec(),
}
ASSIGNMENT = ("spec", "template", "spec", "containers", 0, "env", 0, "value")


@given(HOSTILE, HOSTILE, HOSTILE)
def test_texts_of_an_assignment_appear_in_its_json_and_nowhere_else(model, path, candidate):
    assignment = a_trial(
        candidate=candidate,
        model_path=path,
        records_dir=path,
        endpoints=({"engine": "VLLM", "base_url": "http://127.0.0.1:8000", "served_model_name": model[:256]},),
    )
    trial = jobs.trial_job(**WHO, container="engine", serving=a_serving(), assignment=assignment)
    verify = jobs.verify_job(**WHO, container="engine", assignment=assignment)
    for job in (trial, verify):
        subject = {path for path in found_in(job) if path[-1] == "rightsizer.dev/subject"}
        assert found_in(job) - subject == {ASSIGNMENT}
        assert load_assignment(assignment_value(job)) == assignment


@given(HOSTILE, HOSTILE)
def test_texts_of_a_compression_appear_in_its_json_and_nowhere_else(source, recipe):
    assignment = a_compression(source_path=source, recipe=recipe)
    job = jobs.compress_job(**WHO, assignment=assignment)
    assert found_in(job) == {ASSIGNMENT}
    assert load_assignment(assignment_value(job)) == assignment


@given(HOSTILE)
def test_the_kubelet_finds_nothing_to_expand_in_an_assignment(text):
    job = jobs.trial_job(**WHO, container="engine", serving=a_serving(), assignment=a_trial(model_path=text))
    assert "$" not in assignment_value(job)
    assert json.loads(assignment_value(job))["model_path"] == text


@given(HOSTILE)
def test_an_argument_of_the_user_stays_one_argument_of_the_engine(text):
    container = an_engine(args=["/models/m26", f"--chat-template={text}"])
    found = baseline.snapshot(a_target(container), a_spec(), ())
    made = serving.candidate_serving(
        found,
        engine="VLLM",
        precision="INT8",
        kv_cache="FP8",
        parallelism=1,
        max_num_seqs=8,
        artefact="a",
        engine_images={},
    )
    assert made.args.count(f"--chat-template={text}") == 1
    intent = target.template_patch(a_target(container), "engine", made, found, "h")
    outside = {path for path in found_in(intent) if "args" not in path}
    # The baseline travels as one JSON value.
    assert outside == {("metadata", "annotations", "rightsizer.dev/baseline")}
    assert baseline.recorded({"metadata": intent["metadata"]}) == found


@given(HOSTILE.map(lambda text: text[:200]))
def test_a_model_called_anything_is_served_under_exactly_that_name(text):
    found = baseline.snapshot(a_target(an_engine(args=["--model", text.replace("$", "$$")])), a_spec(), ())
    assert found.served_model_name == text
    made = serving.candidate_serving(
        found,
        engine="VLLM",
        precision="INT8",
        kv_cache="Auto",
        parallelism=1,
        max_num_seqs=None,
        artefact="a",
        engine_images={},
    )
    assert made.args[made.args.index("--served-model-name") + 1].replace("$$", "$") == text


@given(HOSTILE)
def test_a_baseline_survives_its_own_json(text):
    recorded = a_baseline(a_serving(args=(text,)))
    annotation = {"rightsizer.dev/baseline": recorded.model_dump_json(by_alias=True)}
    assert baseline.recorded({"metadata": {"annotations": annotation}}) == recorded
