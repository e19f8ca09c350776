import re

from hypothesis import given
from hypothesis import strategies as st

from rightsizer_operator.manifests import artefacts, labels
from tests.manifests.examples import RUN_UID

DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?", re.ASCII)
OBJECT_NAMES = st.from_regex(r"[a-z0-9]([a-z0-9.\-]{0,60}[a-z0-9])?", fullmatch=True)


@given(OBJECT_NAMES, st.sampled_from(["Explore", "certify", "Verify", "compress"]), st.text(), st.integers(1, 99))
def test_a_job_name_is_a_dns_label_with_room_for_the_pods_suffix(name, purpose, subject, attempt):
    made = labels.job_name(name, purpose, RUN_UID, subject, attempt)
    assert DNS_LABEL.fullmatch(made)
    assert len(made) <= 57


def test_a_job_name_is_the_same_for_the_same_work_and_another_for_any_other():
    def name(uid=RUN_UID, purpose="explore", subject="int8", attempt=1):
        return labels.job_name("support-chat", purpose, uid, subject, attempt)

    assert name() == name()
    others = {name(uid="other"), name(purpose="certify"), name(subject="int4"), name(attempt=2)}
    assert len(others | {name()}) == 5


def test_parts_of_a_job_name_cannot_be_shifted_into_each_other():
    assert labels.job_name("a", "explore", "u", "int8", 11) != labels.job_name("a", "explore", "u", "int81", 1)


def test_a_job_name_shows_whose_it_is_and_what_for():
    assert re.fullmatch(
        r"support-chat-explore-[0-9a-f]{8}", labels.job_name("support-chat", "Explore", RUN_UID, "x", 1)
    )


@given(OBJECT_NAMES, st.from_regex(r"[0-9a-f]{8,64}", fullmatch=True), st.integers(1, 9999))
def test_a_run_name_fits_a_label(name, fingerprint, attempt):
    made = labels.run_name(name, fingerprint, attempt)
    assert DNS_LABEL.fullmatch(made)
    assert len(made) <= 63
    assert made.endswith(f"-{fingerprint[:8]}-{attempt}")


@given(st.text(max_size=300))
def test_any_text_becomes_a_valid_label_value(text):
    assert LABEL_VALUE.fullmatch(labels.label_value(text))
    assert len(labels.label_value(text)) <= 63


@given(OBJECT_NAMES.filter(lambda name: len(name) <= 63))
def test_a_valid_label_value_stays_as_it_is(name):
    assert labels.label_value(name) == name


def test_long_texts_with_one_beginning_get_different_label_values():
    assert labels.label_value("a" * 80 + "x") != labels.label_value("a" * 80 + "y")


def test_the_selector_of_a_run_selects_what_its_labels_say():
    made = labels.labels_of(infdep="chat", run="chat-1-1", purpose="Explore", subject="int8", attempt=1)
    wanted = dict(pair.split("=") for pair in labels.selector(infdep="chat", run="chat-1-1").split(","))
    assert wanted.items() <= made.items()
    assert "rightsizer.dev/run" not in labels.selector()


def test_an_artefact_is_named_by_its_content():
    def name(**changes):
        parts = {
            "model_name": "a/B.3-8b",
            "revision": "r1",
            "path": "b",
            "recipe": "int8-w8a8",
            "tool": "t 1",
            "calibration": "c",
        }
        return artefacts.artefact_name(**{**parts, **changes})

    assert name() == name()
    assert re.fullmatch(r"b-3-8b-int8-w8a8-[0-9a-f]{10}", name())
    changes = ["model_name", "revision", "path", "recipe", "tool", "calibration"]
    assert len({name(), *(name(**{field: "other"}) for field in changes)}) == 7


@given(st.text(max_size=200), st.none() | st.text(max_size=80), st.text(max_size=80), st.text(max_size=80))
def test_an_artefact_name_is_a_dns_label_whatever_the_model_is_called(model, revision, path, recipe):
    made = artefacts.artefact_name(model, revision, path, recipe, "tool", "")
    assert DNS_LABEL.fullmatch(made)
    assert len(made) <= 63


def test_every_compressed_precision_has_a_recipe_and_the_others_have_none():
    recipes = {
        precision: artefacts.recipe_for(precision) for precision in ("AsIs", "BF16", "FP8", "INT8", "INT8W8A16", "INT4")
    }
    assert recipes == {
        "AsIs": None,
        "BF16": None,
        "FP8": "fp8-dynamic",
        "INT8": "int8-w8a8",
        "INT8W8A16": "int8-w8a16",
        "INT4": "int4-w4a16",
    }
