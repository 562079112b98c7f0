"""Certificates of everything shipped: valid under the published schema, and replayed, systems, orders and windows included."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import jsonschema
import pytest

from nlc import pipeline
from nlc.replay.check import seal_of
from nlc.replay.schema import certificate_schema
from nlc.verify.report import ClaimsReport
from tests.architecture.modules import ROOT

Certificate = dict[str, Any]

pytestmark = pytest.mark.slow  # test_certificates.py has a few of them, of every kind

SHIPPED = sorted(
    [*(ROOT / "claims").glob("*.yaml"), *(ROOT / "specs" / "architectures").glob("*.yaml"), *(ROOT / "specs" / "optimizers").glob("*.yaml")]
)


@pytest.fixture(scope="module")
def certificates() -> dict[str, Certificate]:
    found = {}
    for path in SHIPPED:
        report = ClaimsReport(path.name, path.stem, "", ((path.stem, "", pipeline.claims_of(path)),))
        found[path.stem] = pipeline.certificate(path, report)
    return found


def test_every_certificate_is_valid_under_the_schema(certificates: dict[str, Certificate]) -> None:
    schema = certificate_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert {name: next(validator.iter_errors(item), None) for name, item in certificates.items()} == dict.fromkeys(certificates)


@pytest.mark.parametrize("key", ["schema", "seal", "claims", "identity"])
def test_what_is_incomplete_is_not_valid(key: str, certificates: dict[str, Certificate]) -> None:
    validator = jsonschema.Draft202012Validator(certificate_schema())
    changed = copy.deepcopy(certificates["forms"])
    del changed[key]
    assert not validator.is_valid(changed)
    changed = copy.deepcopy(certificates["forms"])
    changed["claims"][0]["proof"]["steps"][0]["kind"] = "belief"
    assert not validator.is_valid(changed)


def test_every_certificate_replays(certificates: dict[str, Certificate]) -> None:
    assert {name: pipeline.replay(item) for name, item in certificates.items()} == dict.fromkeys(certificates, ())


def test_only_what_has_no_numbers_is_left_out(certificates: dict[str, Certificate]) -> None:
    left_out = [claim for item in certificates.values() for claim in item["claims"] if not pipeline.is_replayed(claim)]
    reasons = Counter(claim["proof"].get("not_replayed", claim["verdict"]) for claim in left_out)
    assert set(reasons) <= {"measured", "tested", "ill-typed", "interpretive", "refuted"}
    floats = [claim for claim in left_out if claim["verdict"] == "refuted"]
    assert all("(in floating point)" in claim["detail"] for claim in floats)


def of_method(certificates: dict[str, Certificate], method: str) -> list[dict[str, Any]]:
    found = [claim for item in certificates.values() for claim in item["claims"] if claim["method"] == method]
    assert len(found) > 10
    return found


def accepts(claim: dict[str, Any], certificates: dict[str, Certificate]) -> bool:
    changed = {**certificates["forms"], "claims": [claim]}
    return not pipeline.replay({**changed, "seal": seal_of(changed)})


def wrong(claim: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The claim with one added to a side of something that its proof shows."""
    for place, step in enumerate(claim["proof"]["steps"]):
        if step["kind"] in ("equality", "conclusion"):
            changed = copy.deepcopy(claim)
            old = changed["proof"]["steps"][place]["left"]
            ones = {"kind": "Full", "shape": old["shape"], "operands": [], "value": "1"}
            changed["proof"]["steps"][place]["left"] = {"kind": "Add", "shape": old["shape"], "operands": [old, ones]}
            yield changed


def test_a_wrong_induction_is_found(certificates: dict[str, Certificate]) -> None:
    tried = 0
    for claim in of_method(certificates, "induction over ticks"):
        for changed in islice(wrong(claim), 4) if claim["proof"]["shows"] else ():
            tried += 1
            assert not accepts(changed, certificates), claim["says"]
    assert tried > 40


def test_an_induction_whose_relation_is_not_preserved_is_found(certificates: dict[str, Certificate]) -> None:
    (claim,) = (item for item in certificates["siblings"]["claims"] if item["id"] == "delta_is_open_gated_delta")
    changed = copy.deepcopy(claim)
    relation = next(step for step in changed["proof"]["steps"] if step["rule"] == "the relation before a tick")
    half = {"kind": "Constant", "shape": [], "operands": [], "value": "1/2"}
    relation["right"] = {"kind": "Scale", "shape": relation["right"]["shape"], "operands": [half, relation["right"]]}
    assert accepts(claim, certificates)
    assert not accepts(changed, certificates)


def test_a_run_that_shows_no_difference_is_found(certificates: dict[str, Certificate]) -> None:
    for claim in of_method(certificates, "exact runs of both systems"):
        if claim["proof"]["shows"] == "difference":
            changed = copy.deepcopy(claim)
            for value in changed["proof"]["counterexample"]["values"]:
                value["entries"] = ["0"] * len(value["entries"])
            assert accepts(claim, certificates)
            assert not accepts(changed, certificates), claim["says"]


def test_a_wrong_order_is_found(certificates: dict[str, Certificate]) -> None:
    for claim in of_method(certificates, "order of levels (Definition 2)"):
        order = claim["proof"]["order"]
        other = "refuted" if claim["verdict"] == "proved" else "proved"
        assert accepts(claim, certificates)
        assert not accepts({**claim, "verdict": other}, certificates)
        if claim["verdict"] == "proved":
            turned = [{">": "<", "<": ">", "~": ">"}[sign] for sign in order["relations"]]
            assert not accepts({**claim, "proof": {**claim["proof"], "order": {**order, "relations": turned}}}, certificates)


def test_an_order_without_its_reads_is_found(certificates: dict[str, Certificate]) -> None:
    (claim,) = (item for item in certificates["siblings"]["claims"] if item["id"] == "titans_levels")
    order = {**claim["proof"]["order"], "needs": []}
    assert not accepts({**claim, "proof": {**claim["proof"], "order": order}}, certificates)
