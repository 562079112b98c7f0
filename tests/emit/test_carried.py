"""States of modules with windows: one that carries other data than a window looks back to is refused, with the level and the stream."""

from __future__ import annotations

import pytest
import torch

from generated.architectures.omega import Omega
from nlc import compile_file
from tests.architecture.modules import ROOT

ARCHITECTURES = ROOT / "specs" / "architectures"


def streams(*scalars: str) -> dict[str, torch.Tensor]:
    vectors = {name: torch.randn(2, 6, 2, 4) for name in ("q", "k", "v")}
    return vectors | {name: torch.rand(2, 6, 2) / 4 for name in scalars}


@pytest.mark.parametrize("way", ["forward", "forward_by_token", "step"])
def test_a_window_longer_than_its_carried_state_is_refused(way: str) -> None:
    narrow = compile_file(ARCHITECTURES / "omega.yaml", width=3).load().Omega(4, 4)
    given = streams("alpha", "gamma")
    _, state = narrow(**given)
    token = given if way != "step" else {name: x[:, 0] for name, x in given.items()}
    with pytest.raises(ValueError, match=r"^memory looks back 3 tokens from the first one here, but the state carries 2 in recent\.gamma$"):
        getattr(Omega(4, 4), way)(**token, state=state)


@pytest.mark.parametrize("width", [3, 5])
def test_so_is_one_of_attention(width: int) -> None:
    other, made = (
        compile_file(ARCHITECTURES / "sliding_window_attention.yaml", width=n).load().SlidingWindowAttention(4, 4) for n in (width, 4)
    )
    given = streams()
    _, state = other(**given)
    for run, token in ((made, given), (made.step, {name: x[:, 0] for name, x in given.items()})):
        with pytest.raises(
            ValueError, match=rf"^attention looks back 3 tokens from the first one here, but the state carries {width - 1} in"
        ):
            run(**token, state=state)


def test_a_state_without_the_window_is_refused() -> None:
    given = streams("alpha", "gamma")
    _, state = Omega(4, 4)(**given)
    with pytest.raises(ValueError, match=r"the state carries 0 in recent\.gamma$"):
        Omega(4, 4)(**given, state={"memory": state["memory"]})
