"""What was compiled -> what can be trained: a network in the words of the training loop, its optimizers, and whose it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nlc.ir.clock import Family
from nlc.ir.model import Model
from nlc.train.interface import MemoryInterface
from nlc.train.levels import EveryStep, LevelOptimizers, parameters_left
from nlc.train.model import LanguageModel
from nlc.train.settings import TrainSettings
from nlc.train.tokens import ALPHABET
from nlc.train.tree import Tree


@dataclass(frozen=True, slots=True)
class FastLevel:
    """A level of the context: its name and how many tokens pass between two of its updates."""

    name: str
    period: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to make a network and the optimizers of its slow levels.

    `digest` tells its spec from every other; `stream` is the word by which the network takes its tokens, of which it knows
    `vocabulary`; `made_of` is written into the settings of a run, for people and for the next command. A memory `is_wrapped` in a network.
    """

    name: str
    digest: str
    vocabulary: int
    network: Callable[[], nn.Module]
    optimizers: Callable[[nn.Module], Sequence[LevelOptimizers]]
    made_of: Mapping[str, Any]
    fast: tuple[FastLevel, ...] = ()
    stream: str = "tokens"
    is_wrapped: bool = False


@dataclass(slots=True)
class Network:
    """A module that turns tokens into logits, with the precision of a run. `loss_of` is its loss, compiled or not."""

    module: Any
    loss_of: Callable[..., tuple[Tensor, Tree]]
    stream: str = "tokens"
    autocast: torch.dtype | None = None

    def loss(self, windows: Tensor, state: Tree = None) -> tuple[Tensor, Tree]:
        """The mean loss, in nats per token, of predicting each token of (batch, length + 1) windows but the first."""
        with self._precision(windows):
            return self.loss_of(**{self.stream: windows[:, :-1]}, targets=windows[:, 1:], state=state)

    def logits(self, tokens: Tensor, state: Tree = None) -> tuple[Tensor, Tree]:
        """(batch, time) -> (batch, time, vocabulary), by the parallel form."""
        with self._precision(tokens):
            logits, state = self.module(**{self.stream: tokens}, state=state)
            return logits, state

    def step(self, tokens: Tensor, state: Tree) -> tuple[Tensor, Tree]:
        """(batch,) -> (batch, vocabulary), one token further."""
        with self._precision(tokens):
            logits, state = self.module.step(**{self.stream: tokens}, state=state)
            return logits, state

    def next_sequence(self, state: Tree) -> Tree:
        """The state at the start of the next sequence: None, unless something outlasts sequences."""
        return self.module.next_sequence(state) if state is not None and hasattr(self.module, "next_sequence") else None

    def _precision(self, like: Tensor) -> AbstractContextManager[object]:
        return nullcontext() if self.autocast is None else torch.autocast(like.device.type, self.autocast)


def made_network(recipe: Recipe, settings: TrainSettings) -> Network:
    """The network of a recipe with its first parameters, which are drawn with the seed of the run."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(settings.seed)
        module = recipe.network()
    if settings.precision == "float64":
        module = module.double()
    module = module.to(settings.device)
    loss: Any = module.loss
    return Network(
        module,
        torch.compile(loss) if settings.compiled else loss,
        recipe.stream,
        torch.bfloat16 if settings.precision == "bfloat16" else None,
    )


def memory_recipe(
    memory_class: type[nn.Module],
    memory_optimizers: Callable[[nn.Module], LevelOptimizers] | None,
    memory: MemoryInterface,
    optimizer: Callable[[Sequence[Tensor]], Optimizer],
    settings: TrainSettings,
    *,
    vocabulary: int = ALPHABET,
    digest: str = "",
    fast: tuple[FastLevel, ...] = (),
    made_of: Mapping[str, Any] = MappingProxyType({}),
) -> Recipe:
    """A small network around a memory. The memory's slow levels are moved by their own optimizers, everything else by `optimizer`."""

    def network() -> nn.Module:
        return LanguageModel(memory_class, memory, layers=settings.layers, width=settings.d_model, vocabulary=vocabulary)

    def optimizers(made: nn.Module) -> Sequence[LevelOptimizers]:
        memories = [module for module in made.modules() if isinstance(module, memory_class)]
        return _with_rest(made, [memory_optimizers(module) for module in memories] if memory_optimizers else [], optimizer)

    return Recipe(
        name=memory.name,
        digest=digest,
        vocabulary=vocabulary,
        network=network,
        optimizers=optimizers,
        made_of={"memory": memory.name, "arguments": dict(memory.arguments), **made_of},
        fast=fast,
        is_wrapped=True,
    )


def model_recipe(
    model_class: Callable[[], nn.Module],
    model_optimizers: Callable[[nn.Module], LevelOptimizers] | None,
    optimizer: Callable[[Sequence[Tensor]], Optimizer],
    *,
    name: str,
    vocabulary: int,
    stream: str = "tokens",
    digest: str = "",
    fast: tuple[FastLevel, ...] = (),
    made_of: Mapping[str, Any] = MappingProxyType({}),
) -> Recipe:
    """A compiled model, whose levels are moved by their own optimizers, and whatever has none by `optimizer`."""
    return Recipe(
        name=name,
        digest=digest,
        vocabulary=vocabulary,
        network=model_class,
        optimizers=lambda made: _with_rest(made, [model_optimizers(made)] if model_optimizers else [], optimizer),
        made_of={"model": name, **made_of},
        fast=fast,
        stream=stream,
    )


def _with_rest(
    made: nn.Module, own: Sequence[LevelOptimizers], optimizer: Callable[[Sequence[Tensor]], Optimizer]
) -> Sequence[LevelOptimizers]:
    """The optimizers of levels that have some, and one for the parameters left, if there are any."""
    left = parameters_left(made, own)
    return [*own, EveryStep(optimizer(left))] if left else own


def fast_levels(model: Model) -> tuple[FastLevel, ...]:
    """The levels of a spec that move inside the context."""
    return tuple(FastLevel(item.name, item.every.period) for item in model.components if item.every.family is Family.TOKEN)
