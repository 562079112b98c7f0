"""Models whose layers learn from their loss inside the context, beside plain loops over one sequence, with autograd throughout."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nlc.pipeline import compile_file
from tests.emit.test_context import PERIODS, RATE, TENSORS, Weights, chain as chained
from tests.emit.test_models import attended, drawn, normalised

SIZES = {"vocabulary": 11, "d_model": 6, "d_hidden": 5}
LAYERS, HEADS, BLOCK = 2, 3, 2

SPEC = """
nlc: 1
name: Learner
kind: model
dims: {{vocabulary: 11, d_model: 6, layers: 2, heads: 3, d_hidden: 5}}
inputs: {{tokens: integer(vocabulary)}}
hyperparameters: {{rate: 0.02, fast_period: 2, medium_period: 4, slow_period: {slow}}}
network:
  - embed: vocabulary -> d_model
  - repeat: layers
    residual:
      - architectures/{layer}
      - [rms_norm, architectures/softmax_attention_layer]
  - rms_norm
  - head(tied)
outer: {{objective: cross_entropy, optimizer: momentum(0.1)}}
"""
CHAINS = {"cms_in_context": False, "cms_nested_in_context": True}
"""The layers that learn, and whether they start from each other and are learned through."""


def compiled(folder: Path, layer: str, slow: int = 8) -> ModuleType:
    path = folder / f"{layer}_{slow}.yaml"
    path.write_text(SPEC.format(layer=layer, slow=slow))
    return compile_file(path).load()


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModuleType]:
    return {layer: compiled(tmp_path_factory.mktemp("specs"), layer) for layer in CHAINS}


@pytest.fixture(params=CHAINS)
def layer(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def model(modules: dict[str, ModuleType], layer: str) -> Any:
    return drawn(modules[layer].Learner())


def data(time: int, batch: int = 2) -> tuple[Tensor, Tensor]:
    tokens = torch.randint(11, (batch, time + 1), generator=torch.Generator().manual_seed(1))
    return tokens[:, :-1], tokens[:, 1:]


def starts(model: Any, layer: str) -> list[Weights]:
    """Where the levels of each copy of the layer start."""
    blocks = [getattr(block, layer) for block in model.blocks]
    source = {name: "slow" if CHAINS[layer] else name for name in PERIODS}
    names = [(name, tensor) for name in PERIODS for tensor in TENSORS]
    return [{f"{name}.{tensor}": getattr(own, f"{source[name]}_start_{tensor}") for name, tensor in names} for own in blocks]


def by_hand(model: Any, layer: str, tokens: Tensor, targets: Tensor) -> tuple[Tensor, list[Weights]]:
    """One sequence, block after block: the logits, and the levels after it. What attention has seen of earlier blocks stays as it was."""
    weights = dict(model.named_parameters())
    levels = [{name: tensor + 0 for name, tensor in start.items()} for start in starts(model, layer)]
    gathered: list[dict[str, list[Tensor]]] = [{name: [] for name in own} for own in levels]
    seen = [torch.zeros(0, 6, dtype=torch.double) for _ in range(LAYERS)]
    logits = []
    for begin in range(0, len(tokens), BLOCK):
        for own in levels if CHAINS[layer] and begin else ():
            for name, source, period in (("medium", "slow", 8), ("fast", "medium", 4)):
                if begin % period == 0:
                    own |= {f"{name}.{tensor}": own[f"{source}.{tensor}"] + 0 for tensor in TENSORS}
        read = [{name: tensor + 0 for name, tensor in own.items()} for own in levels]
        block = slice(begin, begin + BLOCK)
        x = weights["embedding"][tokens[block]]
        for number, own in enumerate(read):
            place = f"blocks.{number}.softmax_attention"
            x = x + chained(x, own)
            seen[number] = torch.cat((seen[number], normalised(x, weights[f"{place}_norm"])))
            x = x + attended(seen[number][None], weights, place, HEADS)[0, begin:]
        logits.append(normalised(x, weights["head_norm"]) @ weights["embedding"].T)
        if len(logits[-1]) < BLOCK:
            break
        loss = nn.functional.cross_entropy(logits[-1], targets[block], reduction="sum")
        found = iter(torch.autograd.grad(loss, [tensor for own in read for tensor in own.values()], create_graph=True))
        for own, since in zip(levels, gathered, strict=True):
            for name in own:
                slope = next(found)
                since[name].append(slope if CHAINS[layer] else slope.detach())
                period = PERIODS[name.split(".")[0]]
                if (begin + BLOCK) % period == 0:
                    assert len(since[name]) * BLOCK == period
                    own[name] = own[name] - RATE * torch.stack(since[name]).sum(0) / period
                    since[name] = []
    return torch.cat(logits), levels


def flat(state: Any, layer: str) -> dict[str, Tensor]:
    return {f"{number}.{name}": x for number, block in enumerate(state["blocks"]) for name, x in block[layer].items() if x.dim()}


def assert_close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-11)


def test_every_level_of_every_layer_learns_from_the_loss_of_its_own_tokens_to_first_and_second_order(model: Any, layer: str) -> None:
    tokens, targets = data(19)
    loss, state = model.loss(tokens=tokens, targets=targets)
    wanted, kept = zip(*(by_hand(model, layer, *one) for one in zip(tokens, targets, strict=True)), strict=True)
    by_loop = nn.functional.cross_entropy(torch.cat(wanted), targets.flatten())
    assert_close(loss, by_loop)
    for number, block in enumerate(state["blocks"]):
        for name, start in starts(model, layer)[number].items():
            assert_close(block[layer][name], torch.stack([levels[number][name] for levels in kept]))
            assert (block[layer][name] != start).flatten(1).any(1).all(), f"{name} has not learned"
    leaves = list(model.parameters())
    for found, slope in zip(torch.autograd.grad(loss, leaves), torch.autograd.grad(by_loop, leaves), strict=True):
        assert_close(found, slope)


def test_calls_in_pieces_are_one_call_wherever_they_are_cut(model: Any, layer: str) -> None:
    tokens, targets = data(11)
    whole, final = model.loss(tokens=tokens, targets=targets)
    for cut in range(1, 11):
        first, state = model.loss(tokens=tokens[:, :cut], targets=targets[:, :cut])
        second, last = model.loss(tokens=tokens[:, cut:], targets=targets[:, cut:], state=state)
        assert_close((first * cut + second * (11 - cut)) / 11, whole)
        for name, tensor in flat(final, layer).items():
            assert_close(flat(last, layer)[name], tensor)


def test_what_has_no_target_teaches_nothing(model: Any, layer: str) -> None:
    tokens, targets = data(12)
    logits, state = model(tokens=tokens)
    for number, start in enumerate(starts(model, layer)):
        for name, tensor in start.items():
            assert torch.equal(state["blocks"][number][layer][name], tensor.expand_as(state["blocks"][number][layer][name]))
    assert_close(model.forward_by_token(tokens=tokens)[0], logits)
    _, begun = model.loss(tokens=tokens[:, :5], targets=targets[:, :5])
    _, mixed = model(tokens=tokens[:, 5:], state=begun)
    _, wanted = model.loss(tokens=tokens, targets=targets.index_fill(1, torch.arange(5, 12), -100))
    for name, tensor in flat(wanted, layer).items():
        assert_close(flat(mixed, layer)[name], tensor)


def test_the_loss_of_a_token_does_not_see_its_target_or_later_ones(model: Any) -> None:
    tokens, targets = data(12)
    logits, _ = model._in_blocks(tokens, targets, None)
    for t in range(12):
        changed = targets.clone()
        changed[:, t:] = (changed[:, t:] + 1) % 11
        assert torch.equal(model._in_blocks(tokens, changed, None)[0][:, : t + 1], logits[:, : t + 1])


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_without_gradients_it_learns_all_the_same(model: Any, layer: str, precision: torch.dtype) -> None:
    model = model.to(precision)
    tokens, targets = data(9)
    loss, state = model.loss(tokens=tokens, targets=targets)
    with torch.no_grad():
        bare, kept = model.loss(tokens=tokens, targets=targets)
    assert torch.equal(loss, bare)
    for name, tensor in flat(state, layer).items():
        assert torch.equal(flat(kept, layer)[name], tensor)
        assert not flat(kept, layer)[name].requires_grad


def test_periods_longer_than_the_sequence_leave_the_network_as_it_is_to_the_bit(model: Any) -> None:
    tokens, targets = data(1)
    logits, _ = model(tokens=tokens)
    assert torch.equal(model.loss(tokens=tokens, targets=targets)[0], nn.functional.cross_entropy(logits[:, 0], targets[:, 0]))


def test_a_model_that_learns_in_its_layers_may_have_levels_of_steps_beside_them(tmp_path: Path) -> None:
    module = compiled(tmp_path, "cms_across_contexts", slow=3)
    model = drawn(module.Learner())
    optimizer, chain = module.optimizers(model), model.blocks[0].cms_across_contexts
    tokens, targets = data(9)
    for step in range(1, 7):
        slow, start = (x.detach().clone() for x in (chain.slow_W1, chain.fast_start_W1))
        optimizer.zero_grad()
        model.loss(tokens=tokens, targets=targets)[0].backward()
        optimizer.step()
        assert torch.equal(chain.slow_W1, slow) is (step % 3 != 0)
        assert not torch.equal(chain.fast_start_W1, start)
