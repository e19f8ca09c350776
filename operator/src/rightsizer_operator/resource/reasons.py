"""Every reason, once: the same CamelCase word is the reason of a condition and of an Event, and the label of a metric.

Used by ``phases`` (conditions, Events), ``telemetry`` (labels) and the reference pages. Reasons are API: add, never
rename. The sentences say what a reason means in general; a condition's message adds the names and figures of the case.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Meaning:
    """``group``: what it speaks of and on which conditions it stands. ``remedy`` is empty where nobody has to act."""

    group: str
    sentence: str
    remedy: str = ""


REASONS: dict[str, Meaning] = {}
"""Meaning by reason, in order of declaration."""


def _reason(group: str, name: str, sentence: str, remedy: str = "") -> str:
    if name in REASONS:
        raise ValueError(f"reason declared twice: {name}")
    REASONS[name] = Meaning(group, sentence, remedy)
    return name


# The resource as a whole: Ready, Reconciling, Stalled, Paused.
_RESOURCE = "The resource: Ready, Reconciling, Stalled, Paused"
ACCEPTED = _reason(_RESOURCE, "Accepted", "The spec is valid and the target serves a known configuration.")
RECONCILING = _reason(_RESOURCE, "Reconciling", "The current generation of the spec is being looked at.")
SETTLED = _reason(_RESOURCE, "Settled", "Nothing of the current generation is left to be looked at.")
NOT_STALLED = _reason(_RESOURCE, "NotStalled", "Nothing needs a human.")
INVALID_SPEC = _reason(
    _RESOURCE, "InvalidSpec", "The stored spec does not fit its types or rules.", "Correct the named field."
)
PAUSED = _reason(
    _RESOURCE, "Paused", "spec.paused is true: no new Job and no new write.", "Set spec.paused to false to go on."
)
NOT_PAUSED = _reason(_RESOURCE, "NotPaused", "spec.paused is false.")
READ_ONLY = _reason(
    _RESOURCE, "ReadOnly", "The operator runs read-only: targets are not written.", "Ask the operator's administrator."
)
WRITE_REFUSED = _reason(
    _RESOURCE,
    "WriteRefused",
    "The API server refused a write, or an object of that name belongs to somebody else.",
    "Remove what the quoted message names; it is tried again.",
)
INTERNAL_ERROR = _reason(
    _RESOURCE,
    "InternalError",
    "The operator failed on this resource; it is tried again.",
    "Report it with the operator's log.",
)
MODE_OFF = _reason(
    _RESOURCE, "ModeOff", "Update mode is Off: nothing is written.", "Set spec.updatePolicy.mode to Manual or Auto."
)

# The target cannot be right-sized as it is: Ready=False and, where waiting cannot heal it, Stalled=True.
_TARGET = "The target: Ready, Stalled"
TARGET_NOT_FOUND = _reason(
    _TARGET,
    "TargetNotFound",
    "No Deployment of that name exists in the namespace.",
    "Create it. targetRef is immutable: for another Deployment create another InferenceDeployment.",
)
CONTAINER_NOT_FOUND = _reason(
    _TARGET,
    "ContainerNotFound",
    "The target has no container of that name.",
    "Create the InferenceDeployment again with one of the listed containers.",
)
CONTAINER_AMBIGUOUS = _reason(
    _TARGET,
    "ContainerAmbiguous",
    "The target has several containers and none is named.",
    "Set spec.targetRef.container.",
)
NOT_AN_ENGINE = _reason(
    _TARGET,
    "NotAnEngine",
    "The container does not start a known inference engine.",
    "Name the container that runs vLLM or TensorRT-LLM.",
)
SHELL_WRAPPED = _reason(
    _TARGET,
    "ShellWrapped",
    "The engine is started through a shell, so its arguments cannot be read or rewritten safely.",
    "Give the engine's command and args as lists, without a shell.",
)
UNKNOWN_ENGINE_IMAGE = _reason(
    _TARGET,
    "UnknownEngineImage",
    "The image is of no engine Rightsizer knows, or of no version it supports.",
    "Use an image of a supported engine, or have it added to the operator's engine images.",
)
UNSUPPORTED_ENGINE_FLAG = _reason(
    _TARGET,
    "UnsupportedEngineFlag",
    "The engine is started with a flag that a rewrite could not carry over.",
    "Remove the named flag, or exclude the container.",
)
UNSUPPORTED_DEVICE_REQUEST = _reason(
    _TARGET,
    "UnsupportedDeviceRequest",
    "The target asks for accelerators in a way that cannot be counted (resource claims, or none at all).",
    "Request accelerators as an extended resource of the engine container, the one in spec.accelerator.resource.",
)
TARGET_CLAIMED = _reason(
    _TARGET,
    "TargetClaimed",
    "An older InferenceDeployment names the same target.",
    "Delete one of the two; the older one holds the target.",
)
TARGET_OWNED = _reason(
    _TARGET,
    "TargetOwned",
    "Another controller owns the target and would undo a rewrite.",
    "Configure that controller instead, or name a Deployment of your own.",
)
TARGET_UNAVAILABLE = _reason(
    _TARGET, "TargetUnavailable", "The target has no ready replica, so nothing known serves.", "Repair the Deployment."
)
TARGET_CHANGED = _reason(
    _TARGET,
    "TargetChanged",
    "The target was changed by somebody else: that is new intent, the old proposal is void.",
    "None needed; a new run starts from the target as it is now.",
)

# The inputs of a search: Ready, Stalled, Optimized.
_INPUT = "The inputs of a search: Ready, Stalled, Optimized"
CLAIM_NOT_FOUND = _reason(
    _INPUT,
    "ClaimNotFound",
    "No PersistentVolumeClaim of that name exists in the namespace.",
    "Create it, or correct spec.modelCache.claimName.",
)
CLAIM_UNUSABLE = _reason(
    _INPUT,
    "ClaimUnusable",
    "The claim is lost, or its access modes do not let several pods use it.",
    "Use a ReadWriteMany claim, or one whose pods all run on one node.",
)
MODEL_UNREADABLE = _reason(
    _INPUT,
    "ModelUnreadable",
    "The weights are not where spec.model.path says, or are no safetensors with config.json.",
    "Copy the weights there, or correct spec.model.path.",
)
VOLUME_FULL = _reason(
    _INPUT,
    "VolumeFull",
    "The model volume has no room for an artefact.",
    "Enlarge the claim, or delete old artefacts; then set a new spec.search.rerun.",
)
QUESTION_SET_UNREADABLE = _reason(
    _INPUT,
    "QuestionSetUnreadable",
    "The question set is missing, malformed, or has another digest than stated.",
    "Correct spec.quality.questionSet.path or sha256.",
)
TRACE_UNREADABLE = _reason(
    _INPUT,
    "TraceUnreadable",
    "The workload's trace is missing, malformed, holds no request in the window, or has another digest than stated.",
    "Correct spec.workload.trace or the file; the message names line and column.",
)
MARGIN_UNRESOLVABLE = _reason(
    _INPUT,
    "MarginUnresolvable",
    "The question set is too small to tell the allowed drop from none.",
    "Use at least the stated number of questions, or allow a larger spec.quality.maxDropPoints.",
)
DEMAND_ZERO = _reason(
    _INPUT,
    "DemandZero",
    "The demand is zero: any size would do and none can be proven.",
    "Set the named field of spec.workload to the peak demand, or scale the target to zero yourself.",
)
PROMETHEUS_NOT_CONFIGURED = _reason(
    _INPUT,
    "PrometheusNotConfigured",
    "The demand is to be read from Prometheus, and the operator's configuration names none.",
    "Have prometheus.url set in the operator's chart, or state the demand in spec.workload.static.requestRate.",
)
PROMETHEUS_UNREACHABLE = _reason(
    _INPUT,
    "PrometheusUnreachable",
    "The operator's Prometheus gave no answer that can be used.",
    "It is tried again every minute; look at the operator's log, the network policy and the chart's prometheus values.",
)
DEMAND_UNKNOWN = _reason(
    _INPUT,
    "DemandUnknown",
    "Prometheus has no figure for the target's requests in the window.",
    "Have the engine's metrics scraped with the labels of namespace and pod, or state the demand.",
)
SLO_UNREACHABLE = _reason(
    _INPUT,
    "SLOUnreachable",
    "A limit lies below what any candidate can reach even when idle.",
    "Raise the named limit to above the stated figure.",
)
BUDGET_TOO_SMALL = _reason(
    _INPUT,
    "BudgetTooSmall",
    "The budget does not cover one trial of the baseline.",
    "Raise the named limit of spec.search.budget to at least the stated figure, or shorten spec.search.measurement.",
)
PRICE_MISSING = _reason(
    _INPUT,
    "PriceMissing",
    "No price is known for the accelerator: cost is left out of every result, and a budget in money cannot be kept.",
    "Set spec.cost.gpuHourly, or have the accelerator added to the operator's price list; or limit gpuHours instead.",
)
ACCELERATORS_UNAVAILABLE = _reason(
    _INPUT,
    "AcceleratorsUnavailable",
    "Not enough accelerators are free for the next Job; trials never displace serving pods.",
    "Free or add the stated number of accelerators; the run waits.",
)
NODES_UNREADABLE = _reason(
    _INPUT,
    "NodesUnreadable",
    "The operator may not list nodes: whether accelerators are free is left to the scheduler.",
    "Have the operator's ServiceAccount allowed to list nodes (rbac.clusterScoped of the chart).",
)
ACCELERATOR_TYPE_UNKNOWN = _reason(
    _INPUT,
    "AcceleratorTypeUnknown",
    "The accelerator product is neither stated nor labelled on the target's nodes, or the nodes differ.",
    "Set spec.accelerator.type.",
)

MODEL_ARCHITECTURE_UNKNOWN = _reason(
    _INPUT,
    "ModelArchitectureUnknown",
    "Strategy Rapid estimates, and neither spec.model.architecture nor the table of published models tells the "
    "model's layers and heads.",
    "Set spec.model.architecture (rightsizer plan --print-architecture writes it), or strategy Thorough.",
)
TRACE_NOT_ESTIMABLE = _reason(
    _INPUT,
    "TraceNotEstimable",
    "The workload is a trace, which only a trial can read, and strategy Rapid starts none.",
    "State its mean lengths and rate as spec.workload.static, or set spec.search.strategy to Thorough.",
)
ACCELERATOR_NOT_ESTIMABLE = _reason(
    _INPUT,
    "AcceleratorNotEstimable",
    "Strategy Rapid estimates, and the GPU table does not know the accelerator: it can only be measured.",
    "Set spec.search.strategy to Thorough, or have the accelerator added to the operator's gpus setting.",
)

# The search: Optimized (Unknown while it runs), ProposalReady, and Events.
_SEARCH = "The search: Optimized, ProposalReady"
PLANNING = _reason(_SEARCH, "Planning", "Candidates are being listed and ordered.")
COMPRESSING = _reason(_SEARCH, "Compressing", "A compress Job makes an artefact.")
MEASURING = _reason(_SEARCH, "Measuring", "A trial Job measures a candidate.")
CERTIFYING = _reason(_SEARCH, "Certifying", "The winner's rate is confirmed on a fresh start.")
PROPOSAL_READY = _reason(
    _SEARCH,
    "ProposalReady",
    "A certified candidate needs fewer accelerators or costs less than the baseline.",
    "Approve it by its hash in spec.updatePolicy.approvedProposal.",
)
NO_PROPOSAL = _reason(_SEARCH, "NoProposal", "There is no proposal (yet).")
ESTIMATES_ONLY = _reason(
    _SEARCH,
    "EstimatesOnly",
    "Strategy Rapid: candidates are estimated, nothing is started, and nothing is proposed.",
    "Set spec.search.strategy to Thorough to measure and propose.",
)
NOTHING_BETTER = _reason(
    _SEARCH, "NothingBetter", "No candidate beats the baseline inside the targets; it stays as it is."
)
BASELINE_MISSES_SLO = _reason(
    _SEARCH,
    "BaselineMissesSLO",
    "Neither the baseline nor any candidate meets the limits at the demand.",
    "Relax the named limit, allow more of spec.search, or add accelerators.",
)
BUDGET_EXHAUSTED = _reason(
    _SEARCH,
    "BudgetExhausted",
    "The budget ended before a candidate was certified.",
    "Raise the named limit of spec.search.budget: the same run goes on.",
)
BASELINE_FAILED = _reason(
    _SEARCH,
    "BaselineFailed",
    "The baseline itself could not be measured, so nothing can be compared with it.",
    "See the trial's reason and log in the OptimizationRun; then set a new spec.search.rerun.",
)
SUPERSEDED = _reason(_SEARCH, "Superseded", "The inputs changed: a newer run takes its place.")
DEMAND_DRIFTED = _reason(
    _SEARCH, "DemandDrifted", "The peak demand is no longer the one that the search was made for: a new search starts."
)
JOB_REFUSED = _reason(
    _SEARCH,
    "JobRefused",
    "The API server refused a Job or its pod (quota, admission, limits).",
    "Remove what the quoted message names.",
)
TRIAL_SUCCEEDED = _reason(_SEARCH, "TrialSucceeded", "A candidate was measured and met the targets.")
TRIAL_FAILED = _reason(_SEARCH, "TrialFailed", "A candidate was measured or tried and is out.")
TRIAL_VOID = _reason(_SEARCH, "TrialVoid", "A trial says nothing about its candidate; it is repeated.")
COMPRESSION_FAILED = _reason(
    _SEARCH, "CompressionFailed", "An artefact could not be made.", "See its reason in the OptimizationRun."
)

# The rewrite: Applied, SLOMet, OwnershipConflict, and Events.
_REWRITE = "The rewrite: Applied, SLOMet, OwnershipConflict"
AWAITING_APPROVAL = _reason(
    _REWRITE,
    "AwaitingApproval",
    "Update mode is Manual and the proposal is not approved.",
    "Set spec.updatePolicy.approvedProposal to the proposal's hash.",
)
APPROVAL_STALE = _reason(
    _REWRITE,
    "ApprovalStale",
    "approvedProposal names another proposal than the current one.",
    "Look at the current proposal and approve its hash.",
)
APPROVED = _reason(_REWRITE, "Approved", "The proposal is approved and will be applied.")
NOT_APPLIED = _reason(_REWRITE, "NotApplied", "The target runs its baseline.")
ROLLING_OUT = _reason(_REWRITE, "RollingOut", "The target is being rewritten.")
VERIFYING = _reason(_REWRITE, "Verifying", "The new pods are being verified.")
APPLIED = _reason(_REWRITE, "Applied", "The target runs the proposal, verified.")
ROLLING_BACK = _reason(_REWRITE, "RollingBack", "The recorded baseline is being put back.")
ROLLED_BACK = _reason(
    _REWRITE,
    "RolledBack",
    "The rewrite failed and the recorded baseline serves again.",
    "See the reason in the message; set a new spec.search.rerun to try again.",
)
VERIFICATION_INCONCLUSIVE = _reason(
    _REWRITE,
    "VerificationInconclusive",
    "The verification had too little to judge by: neither a pass nor a failure.",
    "Check that verify Jobs can run and reach the pods.",
)
OWNERSHIP_CONFLICT = _reason(
    _REWRITE,
    "OwnershipConflict",
    "Another manager owns fields that the rewrite needs; nothing is written.",
    "Apply the text of the message: spec.targetRef.takeOwnership, or rightsizer.dev/released-fields on the target.",
)
REVERTED = _reason(
    _REWRITE,
    "Reverted",
    "Another manager keeps putting the old values back; Rightsizer does not fight.",
    "Release the named fields in that manager's source.",
)
NO_CONFLICT = _reason(_REWRITE, "NoConflict", "No other manager claims the fields of the closed list.")
NO_SPARE_ACCELERATORS = _reason(
    _REWRITE,
    "NoSpareAccelerators",
    "New pods do not fit beside the old ones.",
    "Free the stated number of accelerators, or set spec.updatePolicy.allowDowntime.",
)
PROGRESS_DEADLINE_TOO_SHORT = _reason(
    _REWRITE,
    "ProgressDeadlineTooShort",
    "The engine needs longer to become ready than the Deployment waits: its roll-out would fail.",
    "Raise spec.progressDeadlineSeconds of the Deployment to above the stated time.",
)
MET = _reason(_REWRITE, "Met", "Every limit is met at the percentile.")
MISSED = _reason(_REWRITE, "Missed", "A limit is missed at the percentile.", "See the message for limit and figure.")
NOT_MEASURED = _reason(_REWRITE, "NotMeasured", "Nothing has been measured yet.")
