"""Files of claims: the catalogue of the paper is decided as expected, at once and without torch; claims are called by their ids."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from nlc import pipeline
from nlc.cli import main
from nlc.verify.verdict import Verdict
from tests.architecture.modules import ROOT
from tests.timing import is_in_time, time_of_children

CATALOGUE = ROOT / "claims" / "nested_learning.yaml"
SIBLINGS = ROOT / "claims" / "siblings.yaml"
CLAIM_SECONDS = 1.5
CATALOGUE_SECONDS = 60.0

ONE_CLAIM = """
nlc: 1
kind: claims
name: One
sections:
  - name: DeltaRule
    dims: {d_k: 4, d_v: 3}
    inputs: {k: [d_k], v: [d_v], M: [d_v, d_k]}
    hyperparameters: {beta: 0.5}
    claims:
      - says: the delta rule is a gradient step
        id: delta
        prove: M - beta * gradient_of(0.5 * norm2(M @ k - v), M) == M @ (eye - beta * outer(k, k)) + beta * outer(v, k)
"""

WITHOUT_TORCH = """
import sys
from nlc.cli import main
status = main(["verify", {path!r}])
print(status, sorted({{"torch", "sympy", "numpy", "jinja2"}} & set(sys.modules)), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def verdicts() -> tuple[Verdict, ...]:
    return pipeline.verify_claims(CATALOGUE).verdicts


def one_claim(folder: Path, text: str = ONE_CLAIM) -> str:
    path = folder / "one.yaml"
    path.write_text(text)
    return str(path)


def test_the_catalogue_is_decided_as_expected(verdicts: tuple[Verdict, ...]) -> None:
    assert [(verdict.id, verdict.verdict, verdict.detail) for verdict in verdicts if not verdict.as_expected] == []


def test_the_catalogue_is_large_and_not_all_praise(verdicts: tuple[Verdict, ...]) -> None:
    counts = Counter(verdict.verdict for verdict in verdicts)
    assert len(verdicts) >= 60
    assert counts["refuted"] + counts["ill-typed"] >= 15
    assert not {"unknown", "tested"} & set(counts)


def test_the_siblings_are_related_as_expected() -> None:
    found = pipeline.verify_claims(SIBLINGS).verdicts
    assert [(verdict.id, verdict.verdict, verdict.detail) for verdict in found if not verdict.as_expected] == []
    counts = Counter(verdict.verdict for verdict in found)
    assert counts["proved"] >= 25
    assert counts["refuted"] >= 15
    assert not {"unknown", "tested"} & set(counts)
    by_id = {verdict.id: verdict for verdict in found}
    assert all(by_id[verdict.instead].verdict in ("proved", "proved-if", "measured") for verdict in found if verdict.instead)


def test_every_refutation_has_exact_numbers(verdicts: tuple[Verdict, ...]) -> None:
    refuted = [verdict for verdict in verdicts if verdict.verdict == "refuted" and verdict.method.startswith("search")]
    assert len(refuted) > 20
    exact = [verdict for verdict in refuted if verdict.counterexample and verdict.counterexample["exact"]]
    assert {verdict.id for verdict in refuted} - {verdict.id for verdict in exact} == {
        "unnormalised_attention",
        "finitely_many_features",
    }, "exponentials have no rational values"


def test_what_does_not_hold_names_what_does(verdicts: tuple[Verdict, ...]) -> None:
    by_id = {verdict.id: verdict for verdict in verdicts}
    assert all(by_id[verdict.instead].verdict in ("proved", "proved-if") for verdict in verdicts if verdict.instead)


def test_one_claim_loads_nothing_heavy(tmp_path: Path) -> None:
    probe = WITHOUT_TORCH.format(path=one_claim(tmp_path))
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.splitlines()[-1] == "0 []", done.stderr


def test_one_claim_is_decided_in_time(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nlc", "verify", one_claim(tmp_path)]
    assert is_in_time(CLAIM_SECONDS, lambda: subprocess.run(command, cwd=ROOT, capture_output=True, check=True), time_of_children)


def test_the_catalogue_is_decided_in_time() -> None:
    command = [sys.executable, "-m", "nlc", "verify", str(CATALOGUE)]
    assert is_in_time(CATALOGUE_SECONDS, lambda: subprocess.run(command, cwd=ROOT, capture_output=True, check=True), time_of_children)


def test_an_unexpected_verdict_is_an_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = ONE_CLAIM.replace("+ beta * outer(v, k)", "- beta * outer(v, k)")
    assert main(["verify", one_claim(tmp_path, wrong)]) == 1
    assert "the term outer(v, k) has the other sign" in capsys.readouterr().out
    assert main(["verify", one_claim(tmp_path, f"{wrong.rstrip()}\n        expect: refuted\n")]) == 0


def test_a_claim_is_explained_by_its_id_or_its_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = one_claim(tmp_path)
    assert main(["verify", "--explain", "delta", path]) == 0
    by_id = capsys.readouterr().out
    assert "  1. M - beta * gradient_of(0.5 * norm2(M @ k - v), M)" in by_id
    assert "Magnus, Neudecker" in by_id
    assert main(["verify", "--explain", "is a gradient step", path]) == 0
    assert capsys.readouterr().out == by_id
    assert main(["verify", "--explain", "no such claim", path]) == 2
    assert "ids: delta" in capsys.readouterr().err


@pytest.mark.slow
def test_a_refuted_claim_is_explained_with_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--explain", "hope_is_gated_delta", str(CATALOGUE)]) == 0
    assert "To try by hand:" in capsys.readouterr().out


def test_claims_are_checked_and_never_built(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(CATALOGUE)]) == 0
    assert main(["build", one_claim(tmp_path), "-o", str(tmp_path / "out")]) == 1
    assert "NLC801" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_settings_do_not_change_claims(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--set", "d_k=2", one_claim(tmp_path)]) == 2
    assert "--set changes specs" in capsys.readouterr().err
