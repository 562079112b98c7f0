from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from nlc.train.generate import Sampling, generated
from nlc.train.recipe import Network, made_network
from nlc.train.tree import Tree, leaves
from tests.train.tiny import SETTINGS, recipe

DOUBLE = replace(SETTINGS, precision="float64", layers=2)
PROMPT = torch.tensor(list(b"the prompt"))
LIKELIEST = Sampling(temperature=0)


@pytest.fixture
def network() -> Network:
    """A network whose every part matters; its parameters in float64, so that near ties are none."""
    made = made_network(recipe(DOUBLE), DOUBLE)
    torch.manual_seed(0)
    for parameter in made.module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return made


class Watched:
    """A network that tells what it gives, and how much its state holds, at every step."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.given: list[Tensor] = []
        self.sizes: list[int] = []

    def loss(self, windows: Tensor) -> tuple[Tensor, Tree]:
        return self.network.loss(windows)

    def logits(self, tokens: Tensor, state: Tree = None) -> tuple[Tensor, Tree]:
        logits, state = self.network.logits(tokens, state)
        self.given.append(logits[:, -1])
        return logits, state

    def step(self, tokens: Tensor, state: Tree) -> tuple[Tensor, Tree]:
        self.sizes.append(sum(tensor.numel() for _, tensor in leaves(state)))
        logits, state = self.network.step(tokens, state)
        self.given.append(logits)
        return logits, state


def test_decoding_is_the_parallel_form(network: Network) -> None:
    watched = Watched(network)
    tokens = list(generated(watched, PROMPT, Sampling(seed=1), 40))  # type: ignore[arg-type]
    assert len(set(tokens)) > 10
    with torch.no_grad():
        logits, _ = network.logits(torch.cat((PROMPT, torch.tensor(tokens[:-1])))[None])
    assert torch.allclose(torch.stack(watched.given, 1), logits[:, len(PROMPT) - 1 :], atol=1e-12)


def test_without_temperature_the_likeliest_token_is_taken(network: Network) -> None:
    tokens = list(generated(network, PROMPT, LIKELIEST, 20))
    with torch.no_grad():
        logits, _ = network.logits(torch.cat((PROMPT, torch.tensor(tokens)))[None])
    assert logits[0, len(PROMPT) - 1 : -1].argmax(-1).tolist() == tokens


def test_decoding_keeps_no_more_as_it_goes_on(network: Network) -> None:
    watched = Watched(network)
    assert len(list(generated(watched, PROMPT, LIKELIEST, 30))) == 30  # type: ignore[arg-type]
    assert len(watched.sizes) == 29 and len(set(watched.sizes)) == 1


def test_the_seed_decides(network: Network) -> None:
    def text(seed: int) -> list[int]:
        return list(generated(network, PROMPT, Sampling(seed=seed), 20))

    assert text(1) == text(1) != text(2)


class Fixed:
    """A network that always thinks the same of three tokens."""

    chances = torch.tensor([[0.6, 0.3, 0.1]])

    def loss(self, windows: Tensor) -> tuple[Tensor, None]:
        return torch.zeros(()), None

    def logits(self, tokens: Tensor, state: None) -> tuple[Tensor, None]:
        return self.chances.log()[None], None

    def step(self, tokens: Tensor, state: None) -> tuple[Tensor, None]:
        return self.chances.log(), None


def shares(sampling: Sampling, count: int = 4000) -> Iterator[float]:
    found = Counter(generated(Fixed(), PROMPT, sampling, count))  # type: ignore[arg-type]
    yield from (found[token] / count for token in range(3))


def test_tokens_are_drawn_with_their_chances() -> None:
    bound = 4 * 0.5 / 4000**0.5  # four standard deviations of a share
    assert list(shares(Sampling())) == pytest.approx([0.6, 0.3, 0.1], abs=bound)
    sharper = Fixed.chances[0] ** 2 / (Fixed.chances[0] ** 2).sum()
    assert list(shares(Sampling(temperature=0.5))) == pytest.approx(sharper.tolist(), abs=bound)
    assert list(shares(Sampling(top=2))) == pytest.approx([2 / 3, 1 / 3, 0], abs=bound)
    assert list(shares(Sampling(top=1), 50)) == list(shares(Sampling(temperature=0), 50)) == [1, 0, 0]


class Equals(Fixed):
    """Two of three tokens are equally likely, and likelier than the first."""

    chances = torch.tensor([[0.2, 0.4, 0.4]])


def test_of_equally_likely_tokens_no_more_than_the_top_are_drawn() -> None:
    for sampling in (Sampling(top=1), Sampling(temperature=0)):
        assert set(generated(Equals(), PROMPT, sampling, 50)) == {1}  # type: ignore[arg-type]
    assert set(generated(Equals(), PROMPT, Sampling(top=2), 50)) == {1, 2}  # type: ignore[arg-type]
