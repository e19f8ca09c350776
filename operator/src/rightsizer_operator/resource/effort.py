"""What a search may use, and how long the steps of a trial are. Part of ``spec``."""

from pydantic import Field

from rightsizer_operator.resource.base import Positive, Resource, Whole


class Budget(Resource):
    gpu_hours: Positive | None = Field(
        default=None, description="Accelerator hours that trials may use, counted from pod start."
    )
    money: Positive | None = Field(
        default=None,
        description="Price of the accelerator time that trials may use, in cost.currency. Needs a price: "
        "cost.gpuHourly, or the operator's price list.",
    )
    deadline_minutes: Whole = Field(
        default=360, ge=1, le=20_160, description="Wall-clock limit of one run, in minutes."
    )
    max_trials: Whole = Field(default=24, ge=1, le=64, description="Largest number of trials of one run.")


class MeasurementSpec(Resource):
    probe_seconds: Whole = Field(
        default=60,
        ge=5,
        le=3600,
        description="Length of one open-loop probe. Shorter probes give a wider stated error.",
    )
    saturation_seconds: Whole = Field(
        default=60, ge=5, le=3600, description="Length of the closed-loop saturation run."
    )
    warmup_seconds: Whole = Field(default=20, ge=1, le=600, description="Length of one warm-up block.")
    max_probes: Whole = Field(default=8, ge=1, le=12, description="Largest number of probes of one trial.")
    target_error_percent: Whole = Field(
        default=3, ge=1, le=50, description="Relative standard error of the capacity at which a trial stops."
    )
    certification_seconds: Whole = Field(
        default=600, ge=10, le=7200, description="Length of the certification run at the certified rate."
    )
    verification_seconds: Whole = Field(
        default=120, ge=10, le=7200, description="Length of a verification run on the new pods."
    )
    saturation_concurrency: Whole = Field(
        default=320,
        ge=1,
        le=4096,
        description="Requests in flight in the first saturation run. Where the engine then has room and what so few "
        "reach would decide something, the run is repeated with twice as many.",
    )
    ready_seconds: Whole = Field(
        default=1200, ge=10, le=14_400, description="How long an engine may take to become ready."
    )
    first_token_seconds: Whole = Field(
        default=120,
        ge=1,
        le=3600,
        description="How long a ready engine may take to its first token before it counts as hung.",
    )
