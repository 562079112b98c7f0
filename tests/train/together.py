"""The runs that tests/train/test_parallel.py compares: by the processes that torchrun started, or by one.

`torchrun --nproc-per-node 2 -m tests.train.together FOLDER` trains every variant, each in a folder of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import torch

from nlc.commands.training import new_run
from nlc.train import Processes, Recipe, TrainSettings, processes, train
from tests.train.test_resume import with_periods
from tests.train.tiny import SETTINGS, recipe

DOUBLE = replace(SETTINGS, precision="float64", save_every=6)
STREAM = replace(DOUBLE, text="stream", length=4)
VARIANTS: Mapping[str, TrainSettings] = MappingProxyType(
    {
        "windows": DOUBLE,
        "single": replace(SETTINGS, steps=20),
        "stream": STREAM,
        "accumulated": replace(STREAM, accumulate=3),
        "periods": replace(STREAM, steps=11),
    }
)
SPECS = (
    "architectures/linear_attention_layer",
    "architectures/gated_delta_rule",
    "architectures/hope_inner",
    "models/transformer",
    "models/gated_deltanet",
    "models/titans",
    "models/hope",
)
SIZES = ("steps=20", "length=16", "batch=4", "d_model=16", "heads=2", "layers=1", "eval_windows=4", "precision=float64")


def made(name: str) -> tuple[Recipe, TrainSettings]:
    """A variant of the smallest network, or a network around a shipped spec."""
    if name in SPECS:
        return new_run(name, None, SIZES)
    settings = VARIANTS[name]
    return (with_periods(settings) if name == "periods" else recipe(settings)), settings


def run(folder: Path, name: str, own: Processes) -> None:
    """One variant, from its beginning."""
    made_recipe, settings = made(name)
    train(made_recipe, [folder / "data"], folder / name, settings, processes=own)


def threads() -> list[str]:
    """The names of the threads of this process, where the system tells."""
    return sorted(path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm"))


if __name__ == "__main__":
    torch.set_num_threads(1)
    with processes() as together:
        for variant in sys.argv[2:]:
            run(Path(sys.argv[1]), variant, together)
    assert not [name for name in threads() if "gloo" in name], "a thread that outlives Python may abort the process"
