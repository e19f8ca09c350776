"""The question about GPUs: it names the measured pods and the probe's window; an answer counts where it is whole."""

import pytest

from rightsizer_jobs.contract import EngineUse, TrialReport
from rightsizer_operator.sizing import gpu_use
from rightsizer_operator.sizing.gpu_use import Question

ASKED = Question(
    namespace="ml", pods=("chat-explore-1a2b-x7k2p",), gpus=2, at_rps=3.0, ended=1764000000.5, seconds=59.2
)


def vector(*values: str) -> list[dict[str, object]]:
    return [{"metric": {"gpu": str(i)}, "value": [1764000000.5, value]} for i, value in enumerate(values)]


def test_it_asks_for_the_pod_by_the_exporters_labels_and_by_their_renamed_form_over_the_window() -> None:
    assert gpu_use.query(ASKED, "DCGM_FI_DEV_GPU_UTIL") == (
        'avg_over_time(DCGM_FI_DEV_GPU_UTIL{namespace="ml",pod=~"chat-explore-1a2b-x7k2p"}[60s]) or '
        'avg_over_time(DCGM_FI_DEV_GPU_UTIL{exported_namespace="ml",exported_pod=~"chat-explore-1a2b-x7k2p"}[60s])'
    )


def test_a_dot_in_a_name_stands_for_itself() -> None:
    asked = Question(namespace="ml", pods=("a.b-1", "c"), gpus=1, at_rps=1.0, ended=1.0, seconds=10)
    assert '{namespace="ml",pod=~"a\\\\.b-1|c"}[10s]' in gpu_use.query(asked, "X")


def test_the_answer_is_the_mean_over_the_gpus_in_percent() -> None:
    assert gpu_use.mean(vector("60", "80"), 2, 1.0) == 70
    assert gpu_use.mean(vector("0.25", "0.5"), 2, 100.0) == 37.5
    assert gpu_use.mean([], 2, 1.0) is None


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (("60",), "it tells of 1 GPUs, the engine has 2"),
        (("60", "70", "80"), "it tells of 3 GPUs, the engine has 2"),
        (("60", "NaN"), "it is nan"),
        (("60", "101"), "it is 101"),
        (("60", "-1"), "it is -1"),
        (("60", "secret"), "^it is no number$"),
    ],
)
def test_an_answer_that_is_not_whole_or_no_share_is_refused(values: tuple[str, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        gpu_use.mean(vector(*values), 2, 1.0)


@pytest.mark.parametrize("answer", [None, {}, "x", [1], [{"value": "ab"}], [{"value": [1]}]])
def test_an_answer_of_another_shape_is_refused(answer: object) -> None:
    with pytest.raises(ValueError, match="it is no vector"):
        gpu_use.mean(answer, 1, 1.0)


def test_asked_is_only_about_what_the_client_did_not_see_and_can_place_in_time() -> None:
    when = {"ended": 1764000000.0, "seconds": 60.0}
    report = TrialReport(
        purpose="Explore",
        candidate="as-is",
        attempt=1,
        seed=1,
        outcome="Succeeded",
        use=EngineUse(rate_rps=3.0, gpu_percent=80.0, **when),
        use_at_demand=EngineUse(rate_rps=1.0, gpu_unseen="no GPU is shown", **when),
    )
    assert [one.rate_rps for one in gpu_use.unseen(report)] == [1.0]
    older = report.model_copy(update={"use_at_demand": EngineUse(rate_rps=1.0, gpu_unseen="no GPU is shown")})
    assert gpu_use.unseen(older) == ()
