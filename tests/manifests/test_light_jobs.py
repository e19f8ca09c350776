"""Jobs without an engine: verify and compress."""

from rightsizer_jobs.contract import load_assignment
from rightsizer_operator.manifests import jobs
from rightsizer_operator.settings import JobProfile
from tests.manifests.examples import ARTEFACT, RUN_UID, SLOT, a_compression, a_spec, a_target, a_trial, some_settings


def a_verification(target=None, settings=None):
    return jobs.verify_job(
        run_name="support-chat-01234567-1",
        run_uid=RUN_UID,
        infdep_name="support-chat",
        namespace="ml",
        target=target or a_target(),
        container="engine",
        assignment=a_trial(purpose="Verify", rate_rps=2.0),
        settings=settings or some_settings(),
        spec=a_spec(),
    )


def a_compress_job(target=None, settings=None, assignment=None):
    return jobs.compress_job(
        run_name="support-chat-01234567-1",
        run_uid=RUN_UID,
        infdep_name="support-chat",
        namespace="ml",
        target=target or a_target(),
        assignment=assignment or a_compression(),
        settings=settings or some_settings(),
        spec=a_spec(),
    )


def pod_of(job):
    return job["spec"]["template"]["spec"]


def only_container(job):
    (container,) = pod_of(job)["containers"]
    return container


def mounts_of(job):
    return {mount["mountPath"]: mount for mount in only_container(job)["volumeMounts"]}


def test_a_verification_starts_no_engine_and_asks_for_no_accelerator():
    job = a_verification()
    assert "initContainers" not in pod_of(job)
    assert SLOT not in str(job)
    assert job["metadata"]["labels"]["rightsizer.dev/purpose"] == "verify"
    assert only_container(job)["name"] == "trial"


def test_a_verification_may_write_only_the_records_of_its_run():
    writable = [path for path, mount in mounts_of(a_verification()).items() if not mount.get("readOnly")]
    assert writable == ["/rightsizer/volume/runs", "/tmp"]


def test_compressing_reads_the_source_and_writes_only_artefacts():
    job = a_compress_job()
    mounts = mounts_of(job)
    assert mounts["/rightsizer/volume"]["readOnly"] is True
    assert mounts["/rightsizer/volume/artefacts"]["subPath"] == "artefacts"
    assert [path for path, mount in mounts.items() if not mount.get("readOnly")] == [
        "/rightsizer/volume/artefacts",
        "/tmp",
    ]
    assert a_compression().target_path.startswith("/rightsizer/volume/artefacts/")


def test_compressing_asks_for_accelerators_only_where_its_profile_does():
    assert SLOT not in str(a_compress_job())
    profile = JobProfile(image="compress:1", resources={"limits": {"nvidia.com/gpu": "1"}})
    assert only_container(a_compress_job(settings=some_settings(compress=profile)))["resources"] == profile.resources


def test_the_compress_profile_brings_its_environment():
    profile = JobProfile(
        image="compress:1",
        volumes=({"name": "env", "persistentVolumeClaim": {"claimName": "compress-env"}},),
        volume_mounts=({"name": "env", "mountPath": "/opt/compress", "readOnly": True},),
        command=("/opt/compress/bin/python3", "-m", "rightsizer_jobs"),
    )
    job = a_compress_job(settings=some_settings(compress=profile))
    assert mounts_of(job)["/opt/compress"]["readOnly"] is True
    assert [one["name"] for one in pod_of(job)["volumes"]] == ["rightsizer-models", "client-tmp", "client-env"]
    assert only_container(job)["command"][0] == "/opt/compress/bin/python3"


def test_the_compress_assignment_goes_in_as_one_json_variable():
    env = {variable["name"]: variable["value"] for variable in only_container(a_compress_job())["env"]}
    assert load_assignment(env["RIGHTSIZER_ASSIGNMENT"]) == a_compression()


def test_the_compress_job_is_named_by_its_artefact_and_attempt():
    first, second = a_compress_job(), a_compress_job(assignment=a_compression(attempt=2))
    assert first["metadata"]["labels"]["rightsizer.dev/subject"] == ARTEFACT
    assert first["metadata"]["labels"]["rightsizer.dev/purpose"] == "compress"
    assert first["metadata"]["name"] != second["metadata"]["name"]
    rules = first["spec"]["podFailurePolicy"]["rules"]
    assert rules[1]["onExitCodes"]["containerName"] == "compress"


def test_deadlines_of_jobs_without_an_engine_are_ordered_too():
    for job, client_s in ((a_verification(), 3600), (a_compress_job(), 7200)):
        assert client_s < pod_of(job)["activeDeadlineSeconds"] < job["spec"]["activeDeadlineSeconds"]


def test_jobs_without_an_engine_are_restricted_as_a_whole():
    target = a_target(securityContext={"runAsUser": 0, "fsGroup": 2000, "sysctls": [{"name": "a", "value": "b"}]})
    for job in (a_verification(target), a_compress_job(target)):
        pod = pod_of(job)
        assert pod["securityContext"] == {
            "fsGroup": 2000,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert only_container(job)["securityContext"]["runAsUser"] == 65532
        assert pod["automountServiceAccountToken"] is False
        assert pod["serviceAccountName"] == "default"
        assert "priorityClassName" not in pod


def test_jobs_without_an_engine_run_where_the_target_can_reach_the_volume_unless_their_profile_says_where():
    assert pod_of(a_compress_job())["nodeSelector"] == {"pool": "engines"}
    profile = JobProfile(image="compress:1", node_selector={"pool": "cpu"})
    pod = pod_of(a_compress_job(settings=some_settings(compress=profile)))
    assert pod["nodeSelector"] == {"pool": "cpu"}
    assert "affinity" not in pod


def test_pods_without_an_engine_are_never_selected_by_the_targets_service():
    for job in (a_verification(), a_compress_job()):
        labels = job["spec"]["template"]["metadata"]["labels"]
        assert not {"app", "tier"} & set(labels)
