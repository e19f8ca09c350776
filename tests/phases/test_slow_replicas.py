"""Replicas that serve less than a request a second: their rates are stored as held, not rounded to nothing."""

from rightsizer_operator.sizing import gpus
from tests.phases.builders import a_spec
from tests.phases.village import Village, capacities


def test_a_slow_replicas_rates_are_stored_as_they_were_held() -> None:
    slow = a_spec(workload={"static": {"requestRate": "0.0236"}})
    village = Village(spec=slow, script=capacities(as_is=0.0061, int8=0.0131, int4=0.006))
    village.settle()
    (held,) = [one.rate_rps for one in village.run.status.trials if one.purpose == "Certify"]
    lead = next(one for one in village.run.status.candidates if one.id == "int8")
    assert held is not None and lead.configuration is not None and village.status.demand is not None
    assert len(held) > len("0.001")
    assert float(held) == gpus.rounded_down(float(held))
    assert lead.configuration.certified_rps == held
    assert f"certified {held} requests/s per replica" in lead.verdict
    assert village.status.demand.request_rate == "0.0236"
    bars = {one.subject: one.rate_rps for one in village.run.status.trials if one.purpose == "Explore"}
    assert bars["int8"] == "0.00472"
