"""Label and annotation keys, and the names of what we create: the only place where they are spelled.

Called by ``jobs``, ``target`` and ``phases``. Names are deterministic, so that creating twice after a crash makes one
object.
"""

import hashlib
import re

PREFIX = "rightsizer.dev/"
FIELD_MANAGER = "rightsizer.dev/rightsizer"

INFERENCE_DEPLOYMENT = "rightsizer.dev/inference-deployment"
RUN = "rightsizer.dev/run"
PURPOSE = "rightsizer.dev/purpose"
SUBJECT = "rightsizer.dev/subject"
ATTEMPT = "rightsizer.dev/attempt"
MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED_BY_US = "rightsizer"

BASELINE = "rightsizer.dev/baseline"
APPLIED_PROPOSAL = "rightsizer.dev/applied-proposal"
RELEASED_FIELDS = "rightsizer.dev/released-fields"
ENGINE_CONFIG = "rightsizer.dev/engine-config"

LABEL_LIMIT = 63
JOB_NAME_LIMIT = 57
"""The Job controller adds a dash and five characters for the pod, and a label must hold the pod's name."""


def job_name(infdep: str, purpose: str, run_uid: str, subject: str, attempt: int) -> str:
    """``<infdep, at most 30>-<purpose>-<hash8>``; at most JOB_NAME_LIMIT characters, a DNS label."""
    # NUL cannot occur in any of the parts, so no two sets of parts hash alike by shifting a boundary.
    identity = "\0".join((run_uid, purpose.lower(), subject, str(attempt)))
    return f"{_stem(infdep, 30)}-{_stem(purpose, 16)}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"


def run_name(infdep: str, fingerprint: str, attempt: int) -> str:
    """``<infdep, at most 40>-<fingerprint8>-<attempt>``; at most 63 characters, so that it fits a label."""
    return f"{_stem(infdep, 40)}-{fingerprint[:8]}-{attempt}"


def labels_of(*, infdep: str, run: str, purpose: str, subject: str, attempt: int) -> dict[str, str]:
    """Labels of a Job and of its pods: ours only, so that no Service or selector of the user's matches them."""
    return {
        MANAGED_BY: MANAGED_BY_US,
        INFERENCE_DEPLOYMENT: label_value(infdep),
        RUN: label_value(run),
        PURPOSE: purpose.lower(),
        SUBJECT: label_value(subject),
        ATTEMPT: str(attempt),
    }


def selector(*, infdep: str = "", run: str = "") -> str:
    """Label selector of our Jobs and pods, of one resource or one run where given."""
    wanted = {MANAGED_BY: MANAGED_BY_US}
    if infdep:
        wanted[INFERENCE_DEPLOYMENT] = label_value(infdep)
    if run:
        wanted[RUN] = label_value(run)
    return ",".join(f"{key}={value}" for key, value in wanted.items())


def label_value(text: str) -> str:
    """``text`` where it is a valid label value, else its valid beginning and a hash of the whole."""
    if len(text) <= LABEL_LIMIT and re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?", text, re.ASCII):
        return text
    beginning = re.sub(r"[^A-Za-z0-9_.-]+", "-", text)[: LABEL_LIMIT - 9].strip("-_.")
    return f"{beginning or 'x'}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _stem(text: str, length: int) -> str:
    """The beginning of ``text`` as a DNS label; object names may hold dots, names of pods' hosts may not."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:length].strip("-") or "x"
