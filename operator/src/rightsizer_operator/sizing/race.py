"""The race: in which order candidates are tried, and which are too far behind for a trial. Called by ``phases``.

Everything here rests on estimates, and is said as such. What a trial must reach is ``gpus.rate_to_beat``; whether it
did is measured.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rightsizer_operator.resource.base import number
from rightsizer_operator.resource.run import Forecast
from rightsizer_operator.sizing import gpus
from rightsizer_operator.sizing.gpus import Requirement
from rightsizer_operator.sizing.verdicts import AS_IS, ORIGINAL, Standing

NOT_TRIED = "not tried (Estimated)"
"""How the verdict of a candidate begins that was left out because of an estimate."""
ASSUMED_ERROR = 0.20
"""Relative standard deviation that an estimated rate is taken to have."""
DROP_BELOW = 0.55
"""A candidate whose estimated cost-efficiency is below this share of the best estimate is not tried: two times in a
hundred it is the better one, since both err."""
DROP_BELOW_MEASURED = 0.75
"""The same where the best has been measured and only the candidate's estimate errs: such a candidate is the better one
7 times in 100, and one search in 60 ends with a choice that is more than 2 % dearer for it (docs/search.md)."""


@dataclass(frozen=True, slots=True)
class Best:
    """The candidate that others are held against."""

    candidate: str
    needed: int
    """Its whole accelerators for the demand."""
    share: float
    """Below which part of its cost-efficiency another is too far behind."""


@dataclass(frozen=True, slots=True)
class Race:
    """Forecasts by candidate, for what every plan has to bring."""

    forecasts: Mapping[str, Forecast]
    required: Requirement

    def accelerators(self, standing: Standing) -> float:
        """Estimated accelerators for the demand, not rounded up but at least one replica; infinite without a rate.

        Unrounded, since whole replicas of an uncertain rate would make far candidates look near, and near ones far.
        """
        rate = self._rate(standing)
        if not rate:
            return math.inf
        return standing.gpus_per_replica * (max(1.0, self.required.carried_rps / rate) + self.required.spare_replicas)

    def queue(self, standings: Sequence[Standing]) -> tuple[Standing, ...]:
        """In order of trial: the baseline, then best estimate first; without an estimate as planned, after the others.

        Derived candidates come last, in their own order.
        """

        def key(entry: tuple[int, Standing]) -> tuple[int, float, int]:
            index, standing = entry
            if standing.candidate.id in (AS_IS, ORIGINAL):
                return (0, 0.0, index)
            return (2, 0.0, index) if standing.candidate.parent else (1, self.accelerators(standing), index)

        return tuple(standing for _, standing in sorted(enumerate(standings), key=key))

    def best(self, standings: Sequence[Standing]) -> Best | None:
        """Whom the others are held against: the one that puts the most out; None where nobody has an estimate."""
        found = (self._held(one) for one in standings)
        return min((one for one in found if one is not None), key=lambda one: one.needed / one.share, default=None)

    def behind(self, standing: Standing, best: Best | None) -> str:
        """Why a candidate that was not tried is too far behind for a trial, with the figures; empty: it is not.

        Held against the best that still stands, so that a favourite which fails brings back what it had put out.
        """
        if best is None or standing.outcome != "Pending" or standing.candidate.parent:
            return ""
        if standing.candidate.id in (AS_IS, ORIGINAL):
            return ""
        forecast = self.forecasts.get(standing.candidate.id)
        if forecast is not None and forecast.fails:
            return f"{NOT_TRIED}: {forecast.reason}"
        own = self.accelerators(standing)
        if own == math.inf or own * best.share <= best.needed:
            return ""
        return (
            f"{NOT_TRIED}: about {own:.3g} accelerators at {self._rate(standing):.3g} requests/s a replica, "
            f"{best.needed:.3g} with {best.candidate}: below {best.share:g} of its cost-efficiency, more than an error "
            f"of {ASSUMED_ERROR:.0%} in estimates explains"
        )

    def _rate(self, standing: Standing) -> float:
        forecast = self.forecasts.get(standing.candidate.id)
        return number(forecast.rate_rps) if forecast is not None and forecast.rate_rps else 0.0

    def _held(self, standing: Standing) -> Best | None:
        """A candidate that may still win. Where one was measured, the worse of both figures: an estimator that is too
        low for one may be too low for others.
        """
        rate, per_replica = self._rate(standing), standing.gpus_per_replica
        if not rate or not (standing.outcome == "Pending" or standing.feasible):
            return None
        estimated = per_replica * gpus.replicas_for(self.required, rate)
        if not standing.feasible:
            return Best(standing.candidate.id, estimated, DROP_BELOW)
        measured = per_replica * gpus.replicas_for(self.required, standing.rate_rps)
        if measured >= estimated:
            return Best(standing.candidate.id, measured, DROP_BELOW_MEASURED)
        return Best(standing.candidate.id, estimated, DROP_BELOW)


def race(forecasts: Sequence[Forecast], required: Requirement) -> Race:
    """The race of a run. Where the baseline, which serves, is estimated to fail, no other such word is believed."""
    known = {one.candidate: one for one in forecasts}
    baseline = known.get(AS_IS)
    if baseline is not None and baseline.fails:
        known = {name: one.model_copy(update={"fails": False}) for name, one in known.items()}
    return Race(known, required)


def not_tried(standing: Standing, reason: str) -> Standing:
    """A candidate left out because of an estimate: no rule excludes it, and nothing was measured."""
    return replace(standing, outcome="Unsupported", reason=reason, estimated=True)
