"""What a trial's engine and client may read and write."""

from tests.manifests.examples import ARTEFACT, a_serving, a_target, an_engine
from tests.manifests.trial_parts import a_job, client_of, engine_of, mounts_of, pod_of


def test_the_client_reads_the_model_volume_and_writes_only_below_runs():
    mounts = mounts_of(client_of(a_job()))
    assert mounts["/rightsizer/volume"]["readOnly"] is True
    records = mounts["/rightsizer/volume/runs"]
    assert records["subPath"] == "runs"
    writable = [path for path, mount in mounts.items() if not mount.get("readOnly") and path.startswith("/rightsizer")]
    assert writable == ["/rightsizer/volume/runs"]


def test_a_claim_that_the_target_mounts_already_gets_no_second_volume():
    """A pod with two volumes of one claim never starts: kubernetes/kubernetes#127004."""
    claims = [one for one in pod_of(a_job())["volumes"] if "persistentVolumeClaim" in one]
    assert claims == [{"name": "weights", "persistentVolumeClaim": {"claimName": "models"}}]


def test_what_the_target_mounts_read_only_for_the_whole_pod_stays_read_only_for_the_engine():
    engine = an_engine()
    engine["volumeMounts"][0].pop("readOnly")
    assert mounts_of(engine_of(a_job(a_target(engine))))["/models"]["readOnly"] is True


def test_a_claim_that_the_target_does_not_mount_gets_a_volume_of_ours():
    job = a_job(a_target(claim="weights-only"))
    volumes = {volume["name"]: volume for volume in pod_of(job)["volumes"]}
    assert volumes["rightsizer-models"] == {
        "name": "rightsizer-models",
        "persistentVolumeClaim": {"claimName": "models"},
    }
    assert mounts_of(engine_of(job))["/rightsizer/model"]["name"] == "rightsizer-models"


def test_a_volume_of_an_earlier_rewrite_is_replaced_by_the_claim_of_the_spec():
    target = a_target(claim="weights-only")
    old = {"name": "rightsizer-models", "persistentVolumeClaim": {"claimName": "old", "readOnly": True}}
    target["spec"]["template"]["spec"]["volumes"].append(old)
    mount = {
        "name": "rightsizer-models",
        "mountPath": "/rightsizer/model",
        "subPath": "artefacts/old",
        "readOnly": True,
    }
    target["spec"]["template"]["spec"]["containers"][0]["volumeMounts"].append(mount)
    job = a_job(target)
    volumes = {volume["name"]: volume for volume in pod_of(job)["volumes"]}
    assert volumes["rightsizer-models"]["persistentVolumeClaim"] == {"claimName": "models"}
    assert mounts_of(engine_of(job))["/rightsizer/model"]["subPath"] == f"artefacts/{ARTEFACT}"


def test_only_volumes_that_somebody_mounts_come_along():
    assert {volume["name"] for volume in pod_of(a_job())["volumes"]} == {"weights", "shm", "tmp-engine", "client-tmp"}


def test_init_containers_that_prepare_the_engines_volumes_come_along():
    fetch = {
        "name": "trial",
        "image": "fetch:1",
        "volumeMounts": [{"name": "shm", "mountPath": "/w"}, {"name": "unrelated", "mountPath": "/c"}],
    }
    chatter = {"name": "chatter", "image": "c:1"}
    proxy = {
        "name": "proxy",
        "image": "p:1",
        "restartPolicy": "Always",
        "volumeMounts": [{"name": "shm", "mountPath": "/w"}],
    }
    pod = pod_of(a_job(a_target(initContainers=[chatter, fetch, proxy])))
    assert [(one["name"], one["image"]) for one in pod["initContainers"]] == [
        ("prepare-0", "fetch:1"),
        ("engine", "engines/vllm-cpu:0.32.0"),
    ]
    assert "unrelated" in {volume["name"] for volume in pod["volumes"]}


def test_settings_without_a_flag_reach_the_engine_as_a_file_from_the_pods_own_annotation():
    job = a_job(serving=a_serving(engine_config='{"a": 1}'))
    assert job["spec"]["template"]["metadata"]["annotations"]["rightsizer.dev/engine-config"] == '{"a": 1}'
    volumes = {volume["name"]: volume for volume in pod_of(job)["volumes"]}
    item = volumes["rightsizer-engine-config"]["downwardAPI"]["items"][0]
    assert item == {
        "path": "engine.yaml",
        "fieldRef": {"fieldPath": "metadata.annotations['rightsizer.dev/engine-config']"},
    }
    assert mounts_of(engine_of(job))["/rightsizer/config"]["readOnly"] is True
