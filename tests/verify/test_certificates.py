"""Certificates: the same on every machine, replayed by a second checker, and rejected when anything in them was changed."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from nlc import pipeline
from nlc.cli import main
from nlc.replay.check import OPEN, seal_of
from nlc.replay.numbers import modular, remainder
from nlc.verify.polynomial import subtract
from nlc.verify.report import ClaimsReport
from nlc.verify.verdict import Verdict
from tests.architecture.modules import ROOT
from tests.rows import rows

CATALOGUE = ROOT / "claims" / "nested_learning.yaml"
ADAMW = ROOT / "specs" / "optimizers" / "adamw.yaml"
Certificate = dict[str, Any]


@pytest.fixture(scope="module")
def report() -> ClaimsReport:
    return pipeline.verify_claims(CATALOGUE)


@pytest.fixture(scope="module")
def verdicts(report: ClaimsReport) -> tuple[Verdict, ...]:
    return report.verdicts


@pytest.fixture(scope="module")
def certificate(report: ClaimsReport) -> Certificate:
    return pipeline.certificate(CATALOGUE, report)


def resealed(certificate: Mapping[str, Any], claim: Mapping[str, Any]) -> Certificate:
    """A certificate of one claim, with the seal that belongs to it."""
    changed = {**certificate, "claims": [claim]}
    return {**changed, "seal": seal_of(changed)}


@pytest.mark.slow
def test_every_proof_and_every_exact_counterexample_replays(certificate: Certificate) -> None:
    assert pipeline.replay(certificate) == ()
    left_out = [claim["id"] for claim in certificate["claims"] if not pipeline.is_replayed(claim)]
    assert len(certificate["claims"]) - len(left_out) >= 110
    by_id = {claim["id"]: claim for claim in certificate["claims"]}
    measured = "runs in floating point on random values"
    reasons = {"order of levels (Definition 2)", "shapes", "none", "search for a counterexample", measured}
    assert {by_id[name]["method"].partition(";")[0] for name in left_out} <= reasons


@pytest.mark.parametrize("key", rows(["verdict", "text", "detail", "conditions"], quick=["verdict"]))
def test_a_change_breaks_the_seal(key: str, certificate: Certificate) -> None:
    changed = copy.deepcopy(certificate)
    changed["claims"][3][key] = "anything else"
    assert "the seal does not match: the certificate was changed" in pipeline.replay(changed)


def test_a_change_of_a_step_is_found_under_a_new_seal(certificate: Certificate) -> None:
    tried = 0
    for claim in certificate["claims"]:
        if claim["proof"]["shows"] != "equality":
            continue
        for changed in islice(_with_a_wrong_step(claim), tried % 2, None, 5):
            tried += 1
            assert pipeline.replay(resealed(certificate, changed)), (claim["id"], changed["proof"]["steps"])
    assert tried > 50


def _with_a_wrong_step(claim: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The claim with one added to a side of an equation of its proof."""
    for place, step in enumerate(claim["proof"]["steps"]):
        for side in ("left", "right"):
            if step["kind"] in ("equality", "conclusion"):
                changed = copy.deepcopy(dict(claim))
                old = changed["proof"]["steps"][place][side]
                ones = {"kind": "Full", "shape": old["shape"], "operands": [], "value": "1"}
                changed["proof"]["steps"][place][side] = {"kind": "Add", "shape": old["shape"], "operands": [old, ones]}
                yield changed


def test_every_proof_has_a_second_opinion(verdicts: tuple[Verdict, ...]) -> None:
    for verdict in verdicts:
        is_shown = verdict.method == "normal form" and verdict.verdict in ("proved", "proved-if")
        assert (verdict.second is not None and verdict.second.places > 0) or not is_shown, verdict.id


def test_a_proof_that_only_the_prover_believes_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The prover is made to take both sides for the left one: what was refuted is proved to it, and not to the second checker."""
    path = tmp_path / "small.yaml"
    path.write_text(CLAIMS)
    assert main(["verify", str(path), "--explain", "right"]) == 0
    assert "modulo a prime of 61 bits: every step holds at 3 random places" in capsys.readouterr().out
    monkeypatch.setattr("nlc.verify.proofs.subtract", lambda left, right: subtract(left, left))
    monkeypatch.setattr("nlc.verify.claims.CHECKS", 0)
    right, wrong = pipeline.verify_claims(path).verdicts
    assert (right.verdict, wrong.verdict) == ("proved", "unknown")
    assert "the prover shows it and the second checker does not" in wrong.detail


def test_places_that_were_not_looked_at_are_not_counted(certificate: Certificate) -> None:
    claim = copy.deepcopy(next(claim for claim in certificate["claims"] if claim["id"] == "delta_rule"))
    claim["proof"]["places"] += 1
    assert "holds at 3 places, where it says 4" in pipeline.replay(resealed(certificate, claim))[0]


def test_numbers_that_show_nothing_are_found(certificate: Certificate) -> None:
    claim = next(claim for claim in certificate["claims"] if claim["id"] == "delta_rule_without_half")
    changed = copy.deepcopy(claim)
    for value in changed["proof"]["counterexample"]["values"]:
        value["entries"] = ["0"] * len(value["entries"])
    assert "the claim holds" in pipeline.replay(resealed(certificate, changed))[0]
    del changed["proof"]["counterexample"]["values"][0]
    assert "cannot be read" in pipeline.replay(resealed(certificate, changed))[0]


def test_what_is_called_proved_must_show_something(certificate: Certificate) -> None:
    claim = next(claim for claim in certificate["claims"] if claim["id"] == "delta_rule_without_half")
    changed = {**claim, "verdict": "proved", "proof": {**claim["proof"], "shows": ""}}
    assert "nothing is shown" in pipeline.replay(resealed(certificate, changed))[0]
    empty = {**changed, "proof": {"shows": "equality", "steps": [], "counterexample": None}}
    assert "the proof concludes nothing" in pipeline.replay(resealed(certificate, empty))[0]


CLAIMS = """
nlc: 1
kind: claims
name: Small
sections:
  - name: Small
    dims: {d_k: 4, d_v: 3}
    inputs: {k: [d_k], v: [d_v], M: [d_v, d_k]}
    hyperparameters: {beta: 0.5}
    claims:
      - {says: right, id: right, prove: "gradient_of(0.5 * norm2(M @ k - v), M) == outer(M @ k - v, k)"}
      - {says: wrong, id: wrong, prove: "gradient_of(norm2(M @ k - v), M) == outer(M @ k - v, k)", expect: refuted}
"""


def written(folder: Path, **environment: str) -> Certificate:
    folder.mkdir()
    (folder / "small.yaml").write_text(CLAIMS)
    command = [sys.executable, "-m", "nlc", "verify", "small.yaml", "--certificate", "out"]
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    subprocess.run(command, cwd=folder, env=surroundings, check=True, capture_output=True)
    found: Certificate = json.loads((folder / "out" / "small.cert.json").read_text())
    return found


def test_certificates_do_not_depend_on_the_machine(tmp_path: Path) -> None:
    first = written(tmp_path / "first", PYTHONHASHSEED="1", LC_ALL="C", OMP_NUM_THREADS="1")
    second = written(tmp_path / "second", PYTHONHASHSEED="2", LC_ALL="C.UTF-8", OMP_NUM_THREADS="2", TZ="Asia/Tokyo")
    assert {key: first[key] for key in first if key not in OPEN} == {key: second[key] for key in second if key not in OPEN}
    assert first["seal"] == second["seal"]


def test_the_command_replays_and_rejects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(CLAIMS)
    assert main(["verify", str(path), "--certificate", str(tmp_path)]) == 0
    certificate = tmp_path / "small.cert.json"
    assert "# Certificate of Small" in (tmp_path / "small.cert.md").read_text()
    capsys.readouterr()
    assert main(["verify", "--replay", str(certificate)]) == 0
    assert "the evidence of 2 of 2 claims" in capsys.readouterr().out
    certificate.write_text(certificate.read_text().replace('"refuted"', '"proved"', 1))
    assert main(["verify", "--replay", str(certificate)]) == 1
    assert "the seal does not match" in capsys.readouterr().out
    certificate.write_text("[]")
    assert main(["verify", "--replay", str(certificate)]) == 1
    assert main(["verify", "--replay", str(tmp_path / "missing.json")]) == 2


def test_what_cannot_be_looked_at_is_told(tmp_path: Path) -> None:
    """No rotation is found modulo the prime at larger sizes; the certificate says so, and does not count the proof."""
    path = tmp_path / "given.yaml"
    dims = "dims: {n: 3}\n    inputs: {x: [n], A: [n, n], B: [n, n]}"
    claim = (
        '{says: turned, id: turned, prove: "norm2(A @ B @ x) == norm2(x)", given: "transpose(A) @ A == eye and transpose(B) @ B == eye"}'
    )
    path.write_text(f"nlc: 1\nkind: claims\nname: Given\nsections:\n  - name: Given\n    {dims}\n    claims:\n      - {claim}\n")
    report = pipeline.verify_claims(path)
    assert report.verdicts[0].verdict == "proved"
    certificate = pipeline.certificate(path, report)
    assert pipeline.replay(certificate) == ()
    (found,) = certificate["claims"]
    assert pipeline.is_replayed(found) or any("turned: not replayed" in item for item in certificate["not_verified"])


DELAYED = """\
nlc: 1
name: Delayed
dims: {d: 3}
inputs: {x: [d]}
let: {late: "delay(x, 2 tokens)"}
levels:
  memory:
    memory: vector(d)
    objective: 0.5 * norm2(memory - late)
    optimizer: gradient_descent(1)
    every: token
outputs: {y: memory}
claims:
  - {says: it is what came two tokens ago, id: two, prove: "memory == delay(x, 2 tokens)"}
  - {says: it is twice that, id: twice, prove: "memory == 2 * delay(x, 2 tokens)", expect: refuted}
"""


def test_what_came_earlier_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "delayed.yaml"
    path.write_text(DELAYED)
    report = ClaimsReport(path.name, "Delayed", "", (("Delayed", "", pipeline.claims_of(path)),))
    certificate = pipeline.certificate(path, report)
    assert [(claim["verdict"], pipeline.is_replayed(claim)) for claim in certificate["claims"]] == [("proved", True), ("refuted", True)]
    assert pipeline.replay(certificate) == ()


def test_powers_of_counts_are_looked_at(tmp_path: Path) -> None:
    (verdict,) = [item for item in pipeline.claims_of(ADAMW) if item.claim == "without weight decay it is Adam"]
    assert verdict.verdict == "proved"
    assert verdict.second is not None
    assert verdict.second.places == 3


def test_roots_of_fractions_are_what_they_are() -> None:
    """Also of those whose root is no square modulo other primes, as 3 is none modulo 2^61 - 1."""
    small = [Fraction(top, bottom) for top in range(1, 48) for bottom in range(1, 48)]
    assert [number for number in small if modular("sqrt", remainder(number * number)).value != remainder(number).value] == []


def test_functions_without_a_formula_are_congruent(tmp_path: Path) -> None:
    path = tmp_path / "opaque.yaml"
    claim = '{says: normed, id: normed, prove: "layer_norm(A @ x + x) == layer_norm(x + A @ x)"}'
    head = "nlc: 1\nkind: claims\nname: Opaque\nsections:\n  - name: Opaque\n    dims: {n: 3}\n    inputs: {x: [n], A: [n, n]}\n"
    path.write_text(f"{head}    claims:\n      - {claim}\n")
    certificate = pipeline.certificate(path, pipeline.verify_claims(path))
    assert [pipeline.is_replayed(item) for item in certificate["claims"]] == [True]
    assert pipeline.replay(certificate) == ()
