"""A search on a real node with the real engine: what each candidate came to, and that nothing but Jobs was touched."""

import json
from typing import Any

import pytest

from e2e.scenarios import scene
from e2e.scenarios.garbage import TOOL
from e2e.scenarios.scene import Scene
from e2e.scenarios.story import Search
from e2e.stage import objects
from e2e.stage.kubectl import condition, wait_for
from rightsizer_jobs.contract import CompressReport, TrialReport, load_report
from rightsizer_operator.manifests import labels
from rightsizer_operator.resource.run import CandidateStatus, TrialRecord

pytestmark = pytest.mark.timeout(2700)


def entry(search: Search, candidate: str) -> CandidateStatus:
    return next(one for one in search.status.candidates if one.id == candidate)


def record(search: Search, purpose: str, subject: str) -> TrialRecord:
    """The only Job of that purpose and subject."""
    (found,) = [one for one in search.status.trials if (one.purpose, one.subject) == (purpose, subject)]
    return found


def trial_report(found: TrialRecord) -> TrialReport:
    report = load_report(found.report)
    assert isinstance(report, TrialReport)
    return report


def artefact_of(search: Search, candidate: str) -> str:
    (found,) = [one.serving.artefact for one in search.spec.candidates if one.id == candidate and one.serving]
    return found


def test_it_ends_with_a_certified_proposal(search: Search) -> None:
    proposal = search.status.proposal
    assert proposal is not None, search.infdep["status"]["activity"]
    assert condition(search.infdep, "ProposalReady")["status"] == "True"
    assert condition(search.infdep, "Applied")["reason"] == "AwaitingApproval"
    held = [one for one in search.status.trials if one.purpose == "Certify" and one.subject == proposal.candidate]
    assert held[-1].outcome == "Succeeded"
    assert proposal.certified_rps == held[-1].rate_rps


def test_a_killed_leader_leaves_one_run_and_one_job_whose_result_counts(stage: Scene, search: Search) -> None:
    killed, uid = search.killed, search.first_trial["metadata"]["uid"]
    assert killed not in [pod["metadata"]["name"] for pod in stage.operators()]
    assert stage.leader() not in ("", killed)
    assert list(stage.witness.runs.values()).count(search.run["metadata"]["name"]) == 1
    assert len(stage.witness.runs) == 1
    trial = record(search, "Explore", "as-is")
    assert trial.job == search.first_trial["metadata"]["name"]
    assert trial.outcome == "Succeeded"
    assert [job["metadata"]["uid"] for job in stage.witness.named(trial.job)] == [uid]


def test_no_job_was_made_twice_and_no_two_pods_belong_to_one(stage: Scene, search: Search) -> None:
    names = [job["metadata"]["name"] for job in stage.witness.jobs.values()]
    assert len(names) == len(set(names))
    owners = [pod["metadata"]["ownerReferences"][0]["uid"] for pod in stage.witness.pods.values()]
    assert len(owners) == len(set(owners))


def test_weights_that_answer_badly_fail_the_quality_gate_with_figures(search: Search) -> None:
    found = entry(search, "int4")
    assert found.outcome == "FailedQuality"
    assert found.quality is not None
    allowed = float(scene.MAX_DROP_POINTS)
    assert float(found.quality.lower_points) > allowed
    assert found.quality.lost > found.quality.won
    assert found.quality.asked <= scene.QUESTIONS
    assert "drop" in found.verdict
    assert found.capacity_rps is None


def test_an_engine_that_is_healthy_and_gives_no_token_is_hung_within_its_deadline(search: Search) -> None:
    found = entry(search, "fp8")
    assert found.outcome == "EngineHung", found.verdict
    assert f"no token within {scene.FIRST_TOKEN_S} s of the first request" in found.verdict
    assert "healthy" in found.verdict
    report = trial_report(record(search, "Explore", "fp8"))
    assert report.ready_s is not None
    assert report.engine_s - report.ready_s < 2 * scene.FIRST_TOKEN_S


def test_an_engine_that_cannot_load_its_weights_failed_with_its_last_words(search: Search) -> None:
    found = record(search, "Explore", "int8w8a16")
    assert found.outcome == "EngineFailed", found.reason
    assert "the engine ended with exit code" in found.reason
    assert "Error" in found.log_tail
    assert entry(search, "int8w8a16").outcome == "EngineFailed"


def test_weights_that_are_there_with_the_right_digest_are_not_made_again(search: Search) -> None:
    for candidate in ("int4", "fp8", "int8w8a16"):
        report = load_report(record(search, "Compress", artefact_of(search, candidate)).report)
        assert isinstance(report, CompressReport)
        assert (report.outcome, report.tool) == ("Succeeded", TOOL)
        assert "already there" in report.reason


def test_weights_are_really_compressed(stage: Scene, search: Search) -> None:
    base = sum(file.stat().st_size for file in (stage.place.models / "base").glob("*.safetensors"))
    name = artefact_of(search, "int8")
    report = load_report(record(search, "Compress", name).report)
    assert isinstance(report, CompressReport)
    assert report.tool.startswith("llmcompressor ")
    assert 0 < report.size_bytes < base
    config = json.loads((stage.place.models / "artefacts" / name / "config.json").read_text())
    assert config["quantization_config"]["quant_method"] == "compressed-tensors"


def test_good_weights_pass_the_quality_gate(search: Search) -> None:
    found = entry(search, "int8")
    assert found.outcome in ("Succeeded", "CannotBeat", "MissedSLO"), found.verdict
    assert found.quality is not None
    assert float(found.quality.upper_points) <= float(scene.MAX_DROP_POINTS)


def test_an_engine_that_does_not_run_on_this_accelerator_is_out_by_rule(search: Search) -> None:
    found = entry(search, "trtllm")
    assert (found.outcome, found.attempts) == ("Unsupported", 0)
    assert objects.SLOT in found.verdict


def test_the_target_is_untouched_by_the_search(search: Search) -> None:
    assert scene.intent_of(search.after) == scene.intent_of(search.before)
    assert search.after["metadata"]["generation"] == search.before["metadata"]["generation"]


def test_names_follow_from_what_is_made(stage: Scene, search: Search) -> None:
    meta, spec = search.run["metadata"], search.spec
    assert meta["name"] == labels.run_name(objects.TARGET, spec.fingerprint, spec.attempt)
    for one in search.status.trials:
        assert one.job == labels.job_name(objects.TARGET, one.purpose, meta["uid"], one.subject, one.attempt)


def test_pods_of_jobs_hold_no_token_and_no_right(stage: Scene, search: Search) -> None:
    pods = [pod["spec"] for pod in stage.witness.pods.values()]
    assert len(pods) >= len(search.status.trials)
    for spec in pods:
        assert spec["automountServiceAccountToken"] is False
        assert not [volume for volume in spec["volumes"] if "projected" in volume or "hostPath" in volume]
        for container in (*spec["containers"], *spec.get("initContainers", ())):
            mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
            assert not [path for path in mounts if path.startswith("/var/run/secrets")]
            assert container["securityContext"]["allowPrivilegeEscalation"] is False


def test_every_engine_start_was_one_job_with_its_client(stage: Scene, search: Search) -> None:
    for pod in stage.witness.pods.values():
        sidecars = [
            one["name"] for one in pod["spec"].get("initContainers", ()) if one.get("restartPolicy") == "Always"
        ]
        explores = pod["metadata"]["labels"][labels.PURPOSE] in ("explore", "certify")
        assert sidecars == (["engine"] if explores else [])


def test_finished_jobs_are_gone_once_their_results_stand_in_the_run(stage: Scene, search: Search) -> None:
    recorded = {one.job for one in search.status.trials}
    wait_for(lambda: not recorded & {job["metadata"]["name"] for job in stage.jobs()}, "recorded Jobs are gone", 60)


def test_nothing_carries_a_mark_of_the_framework(stage: Scene, search: Search) -> None:
    kinds = "infdep,optrun,deployments,replicasets,jobs,pods,services,persistentvolumeclaims,leases,configmaps"
    for namespace in (objects.NAMESPACE, objects.SYSTEM_NAMESPACE):
        for found in stage.kubectl.list(kinds, namespace):
            assert marks_of(found["metadata"]) == [], found["metadata"]["name"]
    for found in (*stage.witness.jobs.values(), *stage.witness.pods.values()):
        assert marks_of(found["metadata"]) == []
    assert "finalizers" not in search.infdep["metadata"]
    assert "finalizers" not in search.run["metadata"]


def marks_of(metadata: dict[str, Any]) -> list[str]:
    words = [*metadata.get("finalizers", ()), *metadata.get("annotations", {}), *metadata.get("labels", {})]
    return [word for word in words if "kopf" in word or "zalando" in word]
