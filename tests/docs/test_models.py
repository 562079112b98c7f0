"""The page about models: its spec compiles and its claims hold, and its code runs on the module."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from nlc import pipeline
from nlc.cli import main
from tests.architecture.modules import ROOT
from tests.docs.pages import blocks

PAGE = ROOT / "docs" / "models.md"


def test_the_spec_of_the_page_is_compiled_and_its_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = {block.language: block.text for block in blocks(PAGE.read_text())}
    assert text.keys() == {"yaml", "python"}
    spec = tmp_path / "hybrid.yaml"
    spec.write_text(text["yaml"])
    assert [verdict for verdict in pipeline.claims_of(spec) if not verdict.as_expected] == []
    assert main(["build", str(spec), "-o", str(tmp_path / "built")]) == 0
    (module,) = (tmp_path / "built").rglob("hybrid.py")
    monkeypatch.syspath_prepend(str(module.parent))
    monkeypatch.delitem(sys.modules, "hybrid", raising=False)
    script = tmp_path / "page.py"
    script.write_text(text["python"])
    after = runpy.run_path(str(script))
    assert after["logits"].shape == (4, 33, 256)
    assert after["more"].shape == (4, 256)
    assert after["loss"].item() < 6
    assert set(after["state"]["blocks"][1]) == {"delta_rule", "sliding_window_attention"}
    sys.modules.pop("hybrid", None)
