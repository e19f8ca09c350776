"""Builds the three kinds of Job: trial (engine and client), verify (client only), compress.

Called by ``phases``; pure. One trial is one Job is one engine start. Jobs hold no token, run under PodSecurity
``restricted`` (the engine: under the target's own security context), and take no text of the resource anywhere but into
JSON values.
"""

import math
from dataclasses import dataclass

from rightsizer_jobs.contract import ASSIGNMENT_VARIABLE, CompressAssignment, TrialAssignment
from rightsizer_operator.manifests import Manifest, Object, artefacts, labels, template, trial_pod
from rightsizer_operator.manifests.template import MODEL_PATH as MODEL_PATH
from rightsizer_operator.manifests.template import MODEL_VOLUME
from rightsizer_operator.resource.run import Serving
from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from rightsizer_operator.settings import JobProfile, Settings

VOLUME_PATH = "/rightsizer/volume"
RECORDS_FOLDER = "runs"
CLIENT_UID = 65532
"""Where the target's pods run as root or as their image says: any user but root will do."""

CLIENT_VOLUME = "client-"
"""Prefix of the names of our container's own volumes."""

POD_START_MARGIN_S = 900
"""The kubelet counts a pod's deadline from before it pulls images; the client counts its own from its start."""

STAY_ANNOTATIONS = {
    "karpenter.sh/do-not-disrupt": "true",
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    # A mesh proxy in between would be measured too, and may outlive the Job.
    "sidecar.istio.io/inject": "false",
    "linkerd.io/inject": "disabled",
}

RESTRICTED = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whose Job it is; gives its name, labels and owner."""

    run_name: str
    run_uid: str
    infdep_name: str
    namespace: str
    purpose: str
    subject: str
    attempt: int

    @property
    def labels(self) -> dict[str, str]:
        return labels.labels_of(
            infdep=self.infdep_name, run=self.run_name, purpose=self.purpose, subject=self.subject, attempt=self.attempt
        )

    @property
    def job_name(self) -> str:
        return labels.job_name(self.infdep_name, self.purpose, self.run_uid, self.subject, self.attempt)


def trial_job(
    *,
    run_name: str,
    run_uid: str,
    infdep_name: str,
    namespace: str,
    target: Object,
    container: str,
    serving: Serving,
    assignment: TrialAssignment,
    settings: Settings,
    spec: InferenceDeploymentSpec,
) -> Manifest:
    """Engine as native sidecar, client ``trial`` beside it; the report is the client's termination message."""
    claim = spec.model_cache.claim_name
    used = template.claim_volume(template.pod_spec(target), claim)
    # The user's volume of that claim is only there to be used if the engine mounts it.
    sidecar = trial_pod.engine(target, container, serving, spec.accelerator.resource, used or MODEL_VOLUME)
    prepare = trial_pod.preparing(target, container)
    client = _client(settings.trial, assignment, target, container, used or MODEL_VOLUME)
    engine_side = [*prepare, sidecar]
    _keep_read_only(engine_side, trial_pod.read_only_claims(target))
    volumes = trial_pod.volumes(target, [*engine_side, client])
    if used is None:
        volumes.append(_claim(claim))
    if serving.engine_config:
        volumes.append(template.config_volume())
    placement = trial_pod.placement(target)
    profile = settings.trial
    pod_spec = {
        **placement,
        **_pod_defaults(template.pod_spec(target).get("securityContext") or {}, profile),
        "nodeSelector": {**profile.node_selector, **placement.get("nodeSelector", {})},
        "tolerations": _tolerations(placement.get("tolerations", ()), profile),
        "initContainers": engine_side,
        "containers": [client],
        "volumes": [*volumes, *_client_volumes(profile)],
    }
    annotations = {labels.ENGINE_CONFIG: serving.engine_config} if serving.engine_config else {}
    identity = _trial_identity(run_name, run_uid, infdep_name, namespace, assignment)
    return _job(identity, pod_spec, assignment.deadlines.total_s, settings, annotations)


def verify_job(
    *,
    run_name: str,
    run_uid: str,
    infdep_name: str,
    namespace: str,
    target: Object,
    container: str,
    assignment: TrialAssignment,
    settings: Settings,
    spec: InferenceDeploymentSpec,
) -> Manifest:
    """The client alone, against pods that serve already: no engine, no accelerator."""
    client = _client(settings.trial, assignment, target, container, MODEL_VOLUME)
    pod_spec = {
        **_pod_defaults(_volume_access(target), settings.trial),
        **_light_placement(target, settings.trial),
        "containers": [client],
        "volumes": [_claim(spec.model_cache.claim_name), *_client_volumes(settings.trial)],
    }
    identity = _trial_identity(run_name, run_uid, infdep_name, namespace, assignment)
    return _job(identity, pod_spec, assignment.deadlines.total_s, settings, {})


def compress_job(
    *,
    run_name: str,
    run_uid: str,
    infdep_name: str,
    namespace: str,
    target: Object,
    assignment: CompressAssignment,
    settings: Settings,
    spec: InferenceDeploymentSpec,
) -> Manifest:
    """Makes one artefact: the volume read-only, only its artefacts folder writable. Accelerators only where the profile
    asks for them."""
    profile = settings.compress
    mounts = _volume_mounts(MODEL_VOLUME, artefacts.FOLDER)
    container = spec.target_ref.container or ""
    client = _container(
        "compress", profile, assignment.model_dump_json(exclude_none=True), mounts, _user(target, container)
    )
    pod_spec = {
        **_pod_defaults(_volume_access(target), profile),
        **_light_placement(target, profile),
        "containers": [client],
        "volumes": [_claim(spec.model_cache.claim_name), *_client_volumes(profile)],
    }
    identity = Identity(
        run_name=run_name,
        run_uid=run_uid,
        infdep_name=infdep_name,
        namespace=namespace,
        purpose="compress",
        subject=assignment.artefact,
        attempt=assignment.attempt,
    )
    return _job(identity, pod_spec, assignment.deadline_s, settings, {})


def disrupted(job: Object) -> bool:
    """Whether the Job failed because its pod was evicted, preempted or lost its node: that says nothing about the
    candidate."""
    return any(
        condition.get("type") in ("Failed", "FailureTarget")
        and condition.get("reason") == "PodFailurePolicy"
        and "DisruptionTarget" in condition.get("message", "")
        for condition in job.get("status", {}).get("conditions") or ()
    )


def _trial_identity(
    run_name: str, run_uid: str, infdep_name: str, namespace: str, assignment: TrialAssignment
) -> Identity:
    return Identity(
        run_name=run_name,
        run_uid=run_uid,
        infdep_name=infdep_name,
        namespace=namespace,
        purpose=assignment.purpose.lower(),
        subject=assignment.candidate,
        attempt=assignment.attempt,
    )


def _job(
    identity: Identity, pod_spec: Object, client_s: float, settings: Settings, annotations: dict[str, str]
) -> Manifest:
    """Client deadline < pod deadline < Job deadline: a Job that runs out deletes its pod, and the report with it."""
    pod_s = math.ceil(client_s) + POD_START_MARGIN_S
    owner = {
        "apiVersion": "rightsizer.dev/v1alpha1",
        "kind": "OptimizationRun",
        "name": identity.run_name,
        "uid": identity.run_uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": identity.job_name,
            "namespace": identity.namespace,
            "labels": identity.labels,
            "ownerReferences": [owner],
        },
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "podReplacementPolicy": "Failed",
            "activeDeadlineSeconds": pod_s + settings.pending_deadline_s + settings.job_ttl_grace_s,
            "podFailurePolicy": {"rules": _failure_rules(str(pod_spec["containers"][0]["name"]))},
            "template": {
                "metadata": {"labels": identity.labels, "annotations": {**STAY_ANNOTATIONS, **annotations}},
                "spec": {**pod_spec, "activeDeadlineSeconds": pod_s},
            },
        },
    }


def _failure_rules(container: str) -> list[Object]:
    """A disrupted pod fails its Job too: with ``Ignore`` the Job would start a second engine under the same name.

    The Job's condition names the rule, which ``disrupted`` reads; the run then repeats the trial as its next attempt.
    """
    return [
        {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"containerName": container, "operator": "NotIn", "values": [0]}},
    ]


def _pod_defaults(security: Object, profile: JobProfile) -> Object:
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "serviceAccountName": "default",
        "terminationGracePeriodSeconds": 30,
        **({"securityContext": dict(security)} if security else {}),
        **({"priorityClassName": profile.priority_class_name} if profile.priority_class_name else {}),
    }


def _light_placement(target: Object, profile: JobProfile) -> Object:
    """Where a Job without an engine runs: where its profile says, else where the target runs, since its volume is
    reachable there."""
    placement = trial_pod.placement(target)
    found: Object = {"tolerations": _tolerations(placement.get("tolerations", ()), profile)}
    if placement.get("imagePullSecrets"):
        found["imagePullSecrets"] = placement["imagePullSecrets"]
    if profile.node_selector:
        return {**found, "nodeSelector": dict(profile.node_selector)}
    return {**found, **{key: placement[key] for key in ("nodeSelector", "affinity") if key in placement}}


def _tolerations(found: tuple[Object, ...] | list[Object], profile: JobProfile) -> list[Object]:
    return [*found, *(one for one in profile.tolerations if one not in found)]


def _volume_access(target: Object) -> Object:
    """Pod-level groups that let a pod of ours use the volume as the target's pods do, under ``restricted``."""
    security = template.pod_spec(target).get("securityContext") or {}
    shared = ("fsGroup", "fsGroupChangePolicy", "supplementalGroups", "seLinuxOptions")
    return {
        **{field: security[field] for field in shared if field in security},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _user(target: Object, container: str) -> Object:
    """User and group of the engine where they are stated and not root, so that files on the volume are readable both
    ways."""
    spec = template.pod_spec(target)
    engine = template.named(spec.get("containers", ())).get(container) or {}
    stated = {**(spec.get("securityContext") or {}), **(engine.get("securityContext") or {})}
    user = stated.get("runAsUser") or CLIENT_UID
    group = {"runAsGroup": stated["runAsGroup"]} if stated.get("runAsGroup") else {}
    return {"runAsUser": user, **group}


def _client(profile: JobProfile, assignment: TrialAssignment, target: Object, container: str, volume: str) -> Object:
    mounts = _volume_mounts(volume, RECORDS_FOLDER)
    text = assignment.model_dump_json(exclude_none=True)
    return _container("trial", profile, text, mounts, _user(target, container))


def _container(name: str, profile: JobProfile, assignment: str, mounts: list[Object], user: Object) -> Object:
    """The only container with a program of ours. Kubernetes expands ``$(...)`` in variables, so JSON writes the dollar
    as an escape."""
    own = [
        {"name": ASSIGNMENT_VARIABLE, "value": assignment.replace("$", "\\u0024")},
        {"name": "HOME", "value": "/tmp"},  # noqa: S108
    ]
    overridden = {variable["name"] for variable in profile.env} - {ASSIGNMENT_VARIABLE}
    given = [dict(variable) for variable in profile.env if variable["name"] != ASSIGNMENT_VARIABLE]
    return {
        "name": name,
        "image": profile.image,
        "imagePullPolicy": profile.image_pull_policy,
        "command": list(profile.command),
        "env": [*(one for one in own if one["name"] not in overridden), *given],
        "resources": dict(profile.resources),
        "securityContext": {**RESTRICTED, **user},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [*mounts, *_client_mounts(profile)],
    }


def _volume_mounts(volume: str, writable: str) -> list[Object]:
    """The model volume read-only, one folder of it writable. The folder is on the volume already, writable for the
    Jobs' user: one that the kubelet makes for a subPath belongs to root with mode 0750, whatever fsGroup says."""
    return [
        {"name": volume, "mountPath": VOLUME_PATH, "readOnly": True},
        {"name": volume, "mountPath": f"{VOLUME_PATH}/{writable}", "subPath": writable},
    ]


def _claim(claim: str) -> Object:
    return {"name": MODEL_VOLUME, "persistentVolumeClaim": {"claimName": claim}}


def _client_volumes(profile: JobProfile) -> list[Object]:
    """Volumes of our own container, named apart from the target's, which are in the same pod."""
    own = {"name": "tmp", "emptyDir": {}}
    return [{**volume, "name": CLIENT_VOLUME + volume["name"]} for volume in (own, *profile.volumes)]


def _client_mounts(profile: JobProfile) -> list[Object]:
    own = {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108
    return [{**mount, "name": CLIENT_VOLUME + mount["name"]} for mount in (own, *profile.volume_mounts)]


def _keep_read_only(containers: list[Object], volumes: frozenset[str]) -> None:
    """What the target mounts read-only for the whole pod stays read-only for the engine, mount by mount: the client
    must write."""
    for container in containers:
        for mount in container.get("volumeMounts", ()):
            if mount["name"] in volumes:
                mount["readOnly"] = True
