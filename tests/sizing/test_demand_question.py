"""The question to Prometheus is about the target's own pods, whatever a tenant writes; its answer is one number or
none.
"""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rightsizer_operator.sizing import demand
from rightsizer_operator.sizing.demand import Question

SAFE = "bcdfghjklmnpqrstvwxz2456789"
NAMES = st.from_regex(r"\A[a-z0-9]([a-z0-9\-.]{0,60}[a-z0-9])?\Z")


def asked(**changes: object) -> Question:
    given_ = {"namespace": "ml", "deployment": "support-chat", "window_hours": 168, "average_minutes": 5}
    return Question(**{**given_, **changes})  # type: ignore[arg-type]


def pod_of(deployment: str, hash_: str = "7c9f5d8bb6", ending: str = "x2k9q") -> str:
    """As Kubernetes names it: what comes before the random ending is cut to 58 characters."""
    replica_set = f"{deployment}-{hash_}"[:63]
    return f"{replica_set}-"[:58] + ending


def owns(deployment: str, pod: str) -> bool:
    return re.fullmatch(demand.pods_of(deployment), pod) is not None


def test_the_query_is_the_peak_of_the_mean_rate_of_finished_requests() -> None:
    assert demand.peak_query(asked()) == (
        'max_over_time(sum(rate({__name__=~"vllm:request_success_total|trtllm_request_success_total",namespace="ml",'
        'pod=~"support-chat-[bcdfghjklmnpqrstvwxz2456789]{1,10}-[bcdfghjklmnpqrstvwxz2456789]{5}"}[5m]))[168h:5m])'
    )
    assert demand.coverage_query(asked()).startswith("count_over_time(sum(rate(")


def test_labels_are_those_of_the_operators_configuration() -> None:
    query = demand.peak_query(asked(namespace_label="exported_namespace", pod_label="exported_pod"))
    assert 'exported_namespace="ml",exported_pod=~' in query


@pytest.mark.parametrize("hash_", ["7c9f5d8bb6", "5d8bb6f7c", "6f"])
@pytest.mark.parametrize("deployment", ["a", "support-chat", "chat.v2", "x" * 46, "x" * 47, "x" * 57, "x" * 63])
def test_a_target_owns_its_pods(deployment: str, hash_: str) -> None:
    assert owns(deployment, pod_of(deployment, hash_))


@pytest.mark.parametrize(
    "pod",
    [
        pod_of("support-chat-eu"), pod_of("eu-support-chat"), pod_of("support-chat2"), "support-chat-0",
        "support-chat-explore-3f2a9b1c-x2k9q", "support-chat", pod_of("supportxchat"),
    ],
)  # fmt: skip
def test_it_owns_no_other_pods(pod: str) -> None:
    assert not owns("support-chat", pod)


def test_a_dot_in_a_name_is_a_dot() -> None:
    assert not owns("chat.v2", pod_of("chatxv2"))


@given(NAMES, NAMES, st.text(alphabet=SAFE, min_size=8, max_size=10), st.text(alphabet=SAFE, min_size=5, max_size=5))
def test_short_names_own_exactly_their_pods(mine: str, other: str, hash_: str, ending: str) -> None:
    if len(mine) > 46 or len(other) > 46:
        return
    assert owns(mine, pod_of(mine, hash_, ending))
    assert owns(mine, pod_of(other, hash_, ending)) == (mine == other)


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_name_leaves_its_string(namespace: str, deployment: str) -> None:
    """Names are validated before; should one get through, it is still text inside one matcher."""
    query = demand.peak_query(asked(namespace=namespace, deployment=deployment))
    outside = re.sub(r'"(?:[^"\\\n]|\\.)*"', "S", query)
    assert outside == "max_over_time(sum(rate({__name__=~S,namespace=S,pod=~S}[5m]))[168h:5m])"


# --- the answer ---


def test_an_empty_answer_is_no_figure_and_a_series_is_its_value() -> None:
    assert demand.single([]) is None
    assert demand.single([{"metric": {}, "value": [1767225600, "7.41"]}]) == 7.41


@pytest.mark.parametrize(
    "result",
    [
        None, {}, "7.4", [{"value": [1, "NaN"]}], [{"value": [1, "+Inf"]}], [{"value": [1, "-1"]}], [{"value": [1]}],
        [{"value": "7"}], ["7"], [{}], [{"value": [1, "7"]}, {"value": [1, "8"]}], [{"value": [1, "seven"]}],
    ],
)  # fmt: skip
def test_everything_else_is_refused(result: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        demand.single(result)


def test_coverage_is_the_share_of_steps_with_data() -> None:
    assert demand.coverage_percent(1008, asked()) == 50
    assert demand.coverage_percent(2017, asked()) == 100


@pytest.mark.parametrize(("now", "drifted"), [(10, False), (12.5, False), (12.6, True), (7.5, False), (7.4, True)])
def test_a_demand_has_drifted_beyond_the_tolerance(now: float, drifted: bool) -> None:
    assert demand.drifted(10, now, 25) == drifted
