"""A trial Job with what a test leaves open, and its parts."""

from rightsizer_operator.manifests import jobs
from tests.manifests.examples import RUN_UID, a_serving, a_spec, a_target, a_trial, some_settings


def a_job(target=None, *, serving=None, assignment=None, settings=None, spec=None):
    return jobs.trial_job(
        run_name="support-chat-01234567-1",
        run_uid=RUN_UID,
        infdep_name="support-chat",
        namespace="ml",
        target=target or a_target(),
        container="engine",
        serving=serving or a_serving(),
        assignment=assignment or a_trial(),
        settings=settings or some_settings(),
        spec=spec or a_spec(),
    )


def pod_of(job):
    return job["spec"]["template"]["spec"]


def engine_of(job):
    return pod_of(job)["initContainers"][-1]


def client_of(job):
    return pod_of(job)["containers"][0]


def mounts_of(container):
    return {mount["mountPath"]: mount for mount in container["volumeMounts"]}
