"""Every shipped model trains: its held-out loss falls on real text, it goes on exactly, and it generates what its parallel form says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nlc.commands.training import new_run
from nlc.train import resume, train
from nlc.train.generate import Sampling, generated
from nlc.train.load import load_run
from tests.architecture.modules import ROOT
from tests.train.test_generate import Watched

MODELS = sorted(f"models/{path.stem}" for path in (ROOT / "specs" / "models").glob("*.yaml"))
TEXT = [ROOT / "nlc"]
SMALL = ("layers=2", "d_model=32", "heads=2", "length=48", "batch=4", "eval_windows=8")


@pytest.mark.parametrize("spec", MODELS)
def test_a_model_goes_on_exactly_and_generates_what_it_would_say(spec: str, tmp_path: Path) -> None:
    pairs = (*SMALL, "text=stream", "precision=float64", "save_every=3")
    recipe, settings = new_run(spec, None, (*pairs, "steps=5"))
    train(recipe, TEXT, tmp_path / "whole", settings)
    (tmp_path / "whole" / "checkpoints" / "step-000000005.safetensors").unlink()
    whole = (tmp_path / "whole" / "model.safetensors").read_bytes()
    resume(recipe, tmp_path / "whole", settings)
    assert (tmp_path / "whole" / "model.safetensors").read_bytes() == whole
    network, corpus = load_run(tmp_path / "whole", recipe, settings)
    watched = Watched(network)
    prompt = corpus.held_out[:20].long()
    tokens = list(generated(watched, prompt, Sampling(seed=1), 30))  # type: ignore[arg-type]
    with torch.no_grad():
        _, state = network.loss(prompt[None])
        logits, _ = network.logits(torch.cat((prompt[-1:], torch.tensor(tokens[:-1])))[None], state)
    assert torch.allclose(torch.stack(watched.given, 1), logits, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("spec", MODELS)
def test_a_model_learns_from_real_text(spec: str, tmp_path: Path) -> None:
    recipe, settings = new_run(spec, None, (*SMALL, "steps=200", "eval_every=50", "learning_rate=0.01"))
    losses: list[float] = []
    result = train(
        recipe, TEXT, tmp_path / "run", settings, lambda status: losses.extend([status.held_out_loss] if status.held_out_loss else [])
    )
    assert len(losses) == 4 and losses[0] > losses[2] and losses[1] > losses[3], "less than a hundred steps before"
    assert result.held_out_loss < 3.2
    assert all(bool(tensor.isfinite().all()) for tensor in load_file(tmp_path / "run" / "model.safetensors").values())
