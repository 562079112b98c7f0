"""Optimizers that take the data of layers, in real training loops: attached to linear layers, shared ones, with gradients accumulated."""

from __future__ import annotations

from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn

from nlc import pipeline
from nlc.cli import main
from nlc.diagnostics import CompileError
from tests.emit.test_shipped_optimizers import shipped

RATE = 0.05


class Twice(nn.Module):
    """A network that uses its middle layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for x in self.parameters():
                x.copy_(torch.randn(x.shape, generator=generator) / 2)

    def inputs(self, x: Tensor) -> dict[str, list[Tensor]]:
        """What each layer is given in a pass, use by use."""
        one = self.first(x).tanh()
        two = self.middle(one).tanh()
        return {"first": [x], "middle": [one, two], "last": [self.middle(two).tanh()]}

    def forward(self, x: Tensor) -> Tensor:
        one = self.first(x).tanh()
        two = self.middle(one).tanh()
        last: Tensor = self.last(self.middle(two).tanh())
        return last


def drawn(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(5, 6, 3, generator=generator, dtype=torch.float64), torch.randn(5, 6, 2, generator=generator, dtype=torch.float64)


def loss_of(network: Twice, batch: tuple[Tensor, Tensor]) -> Tensor:
    return (network(batch[0]) - batch[1]).square().mean()


def weights_of(network: Twice) -> list[nn.Parameter]:
    return [network.first.weight, network.middle.weight, network.last.weight]


def erased(network: Twice, batches: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """One step of delta gradient descent by hand: along the gradient, and by the mean over all data, of W x x'."""
    rows: dict[str, list[Tensor]] = {"first": [], "middle": [], "last": []}
    for batch in batches:
        loss_of(network, batch).backward()
        for name, given in network.inputs(batch[0]).items():
            rows[name] += [x.detach().reshape(-1, x.shape[-1]) for x in given]
    moved = []
    for name, weight in zip(rows, weights_of(network), strict=True):
        x, gradient = torch.cat(rows[name]), weight.grad
        assert gradient is not None
        moved.append(weight.detach() - RATE * (weight.detach() @ x.T @ x / len(x) + gradient))
    return moved


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_delta_gradient_descent_in_a_training_loop(parts: int) -> None:
    """Three steps; the data are those of every use of a layer, and of every pass whose gradients were accumulated."""
    network, other = Twice().double(), Twice().double()
    optimizer: Any = shipped("delta_gradient_descent")(weights_of(network), learning_rate=RATE)
    optimizer.attach(network)
    for step in range(3):
        batches = [drawn(10 * step + part) for part in range(parts)]
        optimizer.zero_grad()
        network.zero_grad()
        other.zero_grad()
        for batch in batches:
            loss_of(network, batch).backward()
        with torch.no_grad():
            loss_of(network, drawn(99))
        optimizer.step()
        wanted = erased(other, batches)
        for weight, copied, new in zip(weights_of(network), weights_of(other), wanted, strict=True):
            assert torch.allclose(weight, new, rtol=1e-12, atol=1e-13)
            with torch.no_grad():
                copied.copy_(new)


def test_generalised_momentum_writes_the_gradient_that_torch_computes() -> None:
    """With nothing stored the step is one of gradient descent, since the errors on the inputs are the gradient."""
    network = Twice().double()
    optimizer: Any = shipped("generalised_momentum")(weights_of(network), learning_rate=RATE)
    optimizer.attach(network)
    before = [weight.detach().clone() for weight in weights_of(network)]
    loss_of(network, drawn(1)).backward()
    optimizer.step()
    for weight, old in zip(weights_of(network), before, strict=True):
        assert weight.grad is not None
        assert torch.allclose(weight, old - RATE * weight.grad, rtol=1e-12, atol=1e-13)


def test_without_data_the_step_says_what_to_do() -> None:
    network = Twice().double()
    optimizer: Any = shipped("delta_gradient_descent")(weights_of(network))
    loss_of(network, drawn(1)).backward()
    with pytest.raises(RuntimeError, match=r"shape \(4, 3\) has a gradient, but no data of its layer; attach\(module\) before"):
        optimizer.step()
    with pytest.raises(ValueError, match="no linear layer of this module has a weight that DeltaGradientDescent moves"):
        optimizer.attach(nn.Sequential(nn.Linear(3, 4)))
    with pytest.raises(ValueError, match="empty parameter list"):
        shipped("delta_gradient_descent")([])


@pytest.mark.parametrize("size", ["columns(weights)", "2 * data", "3"])
def test_streams_that_no_layer_gives_are_refused(size: str, tmp_path: Path) -> None:
    spec = written(tmp_path, "layer_input: [data,", f"layer_input: [{size},")
    with pytest.raises(CompileError, match="`layer_input` uses a stream that is none of"):
        pipeline.compile_program(spec)
    assert main(["build", str(spec), "-o", str(tmp_path)]) == 1


def written(tmp_path: Path, *changes: str) -> Path:
    text = (Path(__file__).resolve().parents[2] / "specs" / "optimizers" / "delta_gradient_descent.yaml").read_text()
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "delta_gradient_descent.yaml").write_text(text)
    return tmp_path / "delta_gradient_descent.yaml"


def test_an_old_datum_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="`prev` of the data of a layer"):
        pipeline.compile_program(written(tmp_path, "seen: layer_input", "seen: prev(layer_input)"))


def test_a_memory_cannot_be_served_by_one_yet(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "memory.yaml").write_text(
        """
nlc: 1
name: Memory
dims: {d: 4}
inputs: {k: [d], v: [d], q: [d]}
levels:
  memory:
    memory: matrix(d, d)
    objective: 0.5 * norm2(memory(k) - v)
    optimizer: delta_gradient_descent(learning_rate = 0.1)
    every: token
outputs: {y: memory(q)}
"""
    )
    with pytest.raises(CompileError, match="is not a value of `optimizer`"):
        pipeline.compile_program(tmp_path / "memory.yaml")


def trained(rank: int, processes: int, rendezvous: str, name: str, results: Any) -> None:
    """Two steps of one of several processes, whose shares of the rows are not equally large; the first tells what came of it."""
    distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=processes)
    torch.set_num_threads(1)
    network = Twice().double()
    parallel = nn.parallel.DistributedDataParallel(network)
    optimizer: Any = shipped(name)(weights_of(network), learning_rate=RATE)
    optimizer.attach(parallel)
    for step in range(2):
        optimizer.zero_grad()
        x, y = share(drawn(step), rank)
        (processes * (parallel(x) - y).square().sum() / 60).backward()
        optimizer.step()
    if rank == 0:
        results.put([weight.detach().tolist() for weight in weights_of(network)])
    distributed.barrier()
    distributed.destroy_process_group()


def share(batch: tuple[Tensor, Tensor], rank: int) -> tuple[Tensor, Tensor]:
    """Two of the five rows of a batch for the first process, three for the second."""
    inside = slice(0, 2) if rank == 0 else slice(2, 5)
    return batch[0][inside], batch[1][inside]


@pytest.mark.parametrize("name", ["delta_gradient_descent", "dgd"])
def test_processes_that_share_a_batch_take_the_steps_of_one(name: str, tmp_path: Path) -> None:
    alone = Twice().double()
    optimizer: Any = shipped(name)(weights_of(alone), learning_rate=RATE)
    optimizer.attach(alone)
    for step in range(2):
        optimizer.zero_grad()
        loss_of(alone, drawn(step)).backward()
        optimizer.step()
    context = get_context("spawn")
    results = context.SimpleQueue()
    arguments = (2, f"file://{tmp_path / 'rendezvous'}", name, results)
    started = [context.Process(target=trained, args=(rank, *arguments)) for rank in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
    assert [process.exitcode for process in started] == [0, 0]
    for weight, found in zip(weights_of(alone), results.get(), strict=True):
        assert torch.allclose(weight, torch.tensor(found, dtype=torch.float64), rtol=1e-12, atol=1e-13)


def test_of_one_datum_the_mean_of_the_steps_is_the_solution() -> None:
    ours, theirs = nn.Linear(3, 4, bias=False).double(), nn.Linear(3, 4, bias=False).double()
    theirs.load_state_dict(ours.state_dict())
    for layer, name in ((ours, "dgd"), (theirs, "dgd_of_samples")):
        optimizer: Any = shipped(name)([layer.weight], learning_rate=0.7)
        optimizer.attach(layer)
        layer(drawn(3)[0][0, :1]).square().sum().backward()
        optimizer.step()
    assert torch.allclose(ours.weight, theirs.weight, rtol=1e-13, atol=1e-14)


def test_delta_gradient_descent_goes_where_the_layer_answers_with_minus_the_gradient() -> None:
    """At a large rate and with fewer data than columns W x = -u exactly, in the limit (math: the proximal step without its distance)."""
    layer = nn.Linear(5, 4, bias=False).double()
    optimizer: Any = shipped("dgd")([layer.weight], learning_rate=1e9)
    generator = torch.Generator().manual_seed(1)
    x, u = (torch.randn(size, generator=generator, dtype=torch.float64) for size in ((3, 5), (3, 4)))
    layer.weight.grad = u.T @ x
    optimizer.record(layer.weight, layer_input=x, output_gradient=u)
    optimizer.step()
    assert torch.allclose(x @ layer.weight.T, -u, atol=1e-6)
