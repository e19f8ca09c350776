"""A whole trial against an engine whose capacity is known."""

from rightsizer_jobs.contract import dump_report, load_report

CAPACITY = 2 / (0.040 + 3 * 0.010)
"""Slots over the time that a request holds one: 28.6 requests a second."""


async def test_an_exploration_finds_a_capacity_near_the_known_one(start_engine, assign, repeat_void, tmp_path):
    engine = await start_engine()
    report = await repeat_void(assign(engine.base_url, records_dir=str(tmp_path / "records")))
    assert report.outcome == "Succeeded", report.reason
    assert report.engine_start == 1000.0
    assert report.idle_ms is not None and 39 < report.idle_ms["ttft"] < 200
    assert report.saturation is not None and 0.5 * CAPACITY < report.saturation.rps < 1.15 * CAPACITY
    assert report.capacity is not None and 0.3 * CAPACITY < report.capacity.rate_rps < 1.1 * CAPACITY
    assert report.client is not None
    assert load_report(dump_report(report)) == report
    assert report.records is not None and "as-is-explore" in report.records
