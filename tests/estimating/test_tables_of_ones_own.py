"""GPU and efficiency tables that a user gives: what is wrong in them is said with its place, and nothing is ignored."""

import copy
import importlib.resources
import json
from typing import Any

import pytest

from rightsizer_operator.sizing.estimate import tables
from rightsizer_operator.sizing.estimate.failures import NotEstimable

ACME = {
    "name": "ACME-9000", "aliases": ["acme_9000"], "memory_gib": 190.0, "bandwidth_gbs": 8000, "bf16_tflops": 2000,
    "fp8_tflops": 4000, "link_gbs": 900, "compute_capability": "10.0", "price_hourly": "6.00",
}  # fmt: skip


def packaged(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        importlib.resources.files("rightsizer_operator.sizing.estimate").joinpath(name).read_text(encoding="utf-8")
    )
    return found


def test_a_gpu_is_found_by_name_and_alias() -> None:
    found = tables.gpu_table({"gpus": [ACME], "dated": "2026-11-26", "sources": ["data sheet"]})
    for name in ("ACME-9000", "acme_9000"):
        facts = tables.gpu(name, found)
        assert facts is not None
        assert (facts.memory_gib, facts.int8_tflops, facts.price_hourly) == (190.0, 0.0, "6.00")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("compute_capability", 10.0), ("price_hourly", 6.0), ("price_hourly", "abc"), ("price_hourly", "-3"),
        ("price_hourly", ""), ("fp8_tflops", "x"), ("fp8_tflops", -5), ("fp8_tflops", None), ("aliases", "acme"),
        ("aliases", None), ("name", 5), ("name", ""), ("memory_gib", "190"), ("memory_gib", 1e308),
        ("bandwidth_gbs", float("inf")), ("bandwidth_gbs", float("nan")), ("bf16_tflops", 1e-300),
        ("int8_tflops", True), ("memory", 190),
    ],
)  # fmt: skip
def test_a_wrong_field_of_a_gpu_is_named(field: str, value: object) -> None:
    with pytest.raises(NotEstimable) as said:
        tables.gpu_table({"gpus": [ACME, {**ACME, field: value}]})
    assert said.value.field == f"gpus[1].{field}"
    assert said.value.remedy


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "gpus"), ({"gpu": [ACME]}, "gpus"), ({"gpus": None}, "gpus"), ({"gpus": ACME}, "gpus"),
        ({"gpus": [1]}, "gpus[0]"), ({"gpus": [ACME], "gpu": []}, "gpu"), ({"gpus": [{**ACME, "aliases": [5]}]},
                                                                           "gpus[0].aliases[0]"),
    ],
)  # fmt: skip
def test_a_gpu_table_of_another_layout_is_an_error(document: dict[str, object], field: str) -> None:
    with pytest.raises(NotEstimable) as said:
        tables.gpu_table(document)
    assert said.value.field == field


def test_a_table_of_no_gpus_is_one() -> None:
    assert tables.gpu_table({"gpus": []}) == {}


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"compute": 50}, "efficiencies.VLLM.compute"),
        ({"compute": float("nan")}, "efficiencies.VLLM.compute"),
        ({"step_ms": "1"}, "efficiencies.VLLM.step_ms"),
        ({"step_ms": 0}, "efficiencies.VLLM.step_ms"),
        ({"speed": 1.0}, "efficiencies.VLLM.speed"),
        ({"link": None}, "efficiencies.VLLM.link"),
    ],
)
def test_a_wrong_efficiency_is_named(value: dict[str, object], field: str) -> None:
    document = packaged("efficiencies.json")
    document["efficiencies"]["VLLM"].update(value)
    with pytest.raises(NotEstimable) as said:
        tables.efficiency_table(document)
    assert said.value.field == field


@pytest.mark.parametrize("document", [{}, {"efficiencies": [1]}, {"efficiencies": "x"}, {"efficiencies": {"VLLM": 5}}])
def test_an_efficiency_table_of_another_layout_is_an_error(document: dict[str, object]) -> None:
    with pytest.raises(NotEstimable, match=r"^efficiencies"):
        tables.efficiency_table(document)


def test_a_key_of_no_known_engine_is_an_error() -> None:
    document = packaged("efficiencies.json")
    document["efficiencies"]["Vllm/H100-SXM"] = document["efficiencies"]["VLLM"]
    with pytest.raises(NotEstimable, match="Vllm/H100-SXM: names no known engine"):
        tables.efficiency_table(document)


def test_a_key_may_name_the_gpu_as_a_node_does() -> None:
    document = packaged("efficiencies.json")
    own = copy.deepcopy(document["efficiencies"]["VLLM"])
    document["efficiencies"]["VLLM/NVIDIA-H100-80GB-HBM3"] = {**own, "compute": 0.5}
    assert tables.efficiencies("VLLM", "H100-SXM", tables.efficiency_table(document)).compute == 0.5


def test_a_key_of_a_gpu_that_no_table_has_is_an_error_where_all_tables_are_known() -> None:
    document = packaged("efficiencies.json")
    document["efficiencies"]["VLLM/ACME-9000"] = document["efficiencies"]["VLLM"]
    assert "VLLM/ACME-9000" in tables.efficiency_table(document)
    assert "VLLM/ACME-9000" in tables.efficiency_table(document, tables.gpu_table({"gpus": [ACME]}))
    with pytest.raises(NotEstimable, match="names no known GPU"):
        tables.efficiency_table(document, {})


def test_the_packages_own_tables_have_that_layout() -> None:
    assert tables.efficiency_table(packaged("efficiencies.json"), {}) == tables.packaged()
    assert tables.gpu_table(packaged("gpus.json"))["h100"].name == "H100-SXM"
