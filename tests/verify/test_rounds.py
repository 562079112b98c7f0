"""Optimizers whose levels start again at every update, in memories of one matrix and of several: as squares and against a hand loop."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nlc.emit import emit_module
from nlc.ir.program import Form
from nlc.verify.squares import check_squares
from tests.emit.systems import emitted_class, program_from

MEMORY = """
nlc: 1
name: InRounds
dims: {d_k: 3, d_v: 4}
axes: [heads]
inputs:
  q: [d_k]
  k: [d_k]
  v: [d_v]
  theta: {shape: [], range: [0, 1]}
levels:
  memory:
    memory: matrix(d_v, d_k)
    keys: k
    values: v
    objective: l2
    optimizer: muon(learning_rate = 0.2, decay = theta, iterations = 2, eps = 0.01)
    every: token
outputs: {y: memory(q)}
"""

NETWORK = MEMORY.replace("matrix(d_v, d_k)", "mlp(d_k, 2 * d_k, d_v, activation = tanh)")
WINDOW = "window: 3 tokens\n    objective: sum(0.5 * l2, over = window)"

SYSTEMS = {
    "a matrix": MEMORY,
    "a network": NETWORK,
    "a matrix every 3 tokens": MEMORY.replace("every: token", "every: 3 tokens"),
    "a network every 3 tokens": NETWORK.replace("every: token", "every: 3 tokens"),
    "a matrix over a window": MEMORY.replace("objective: l2", WINDOW),
    "a network over a window": NETWORK.replace("objective: l2", WINDOW),
    "a network with held gradients over a window": NETWORK.replace("objective: l2", f"{WINDOW}\n    gradient_at: hold(4 tokens)"),
    "a network that starts again": NETWORK.replace("every: token", "reset: 4 tokens\n    every: token"),
    "without a look ahead": NETWORK.replace("muon(", "orthogonal_momentum("),
    "its direction read": MEMORY.replace("outputs: {y: memory(q)}", "outputs: {y: memory(q), direction: memory.orthogonalised}"),
}

QUICK = ("a network",)


@pytest.mark.parametrize("what", [what if what in QUICK else pytest.param(what, marks=pytest.mark.slow) for what in SYSTEMS])
def test_every_square_closes(what: str) -> None:
    program = program_from(SYSTEMS[what])
    assert [square.text for square in check_squares(program, emit_module(program)) if not square.closed] == []


def newton_schulz(x: Tensor, rounds: int) -> Tensor:
    """Muon's, of a stack of matrices."""
    for _ in range(rounds):
        x = 3.4445 * x - 4.7750 * x @ x.mT @ x + 2.0315 * x @ x.mT @ x @ x.mT @ x
    return x


def test_it_is_muon() -> None:
    """By hand: momentum, its look ahead, and the iteration, whose steps are longer for tall matrices."""
    torch.manual_seed(0)
    batch, time, heads, d_k, d_v = 2, 5, 2, 3, 4
    q, k = (torch.randn(batch, time, heads, d_k, dtype=torch.float64) for _ in range(2))
    v, theta = torch.randn(batch, time, heads, d_v, dtype=torch.float64), torch.rand(batch, time, heads, dtype=torch.float64)
    memory, momentum = (torch.zeros(batch, heads, d_v, d_k, dtype=torch.float64) for _ in range(2))
    wanted = []
    for t in range(time):
        gradient = ((memory @ k[:, t, ..., None]).squeeze(-1) - v[:, t])[..., None] * k[:, t, ..., None, :]
        momentum = theta[:, t, ..., None, None] * momentum + gradient
        ahead = gradient + theta[:, t, ..., None, None] * momentum
        along = ahead / (torch.linalg.matrix_norm(ahead)[..., None, None] + 0.01)
        memory = (1 - 0.2 * 0.1) * memory - 0.2 * (4 / 3) ** 0.5 * newton_schulz(along, 2)
        wanted.append((memory @ q[:, t, ..., None]).squeeze(-1))
    y, state = emitted_class(program_from(MEMORY))()(q=q, k=k, v=v, theta=theta)
    torch.testing.assert_close(y, torch.stack(wanted, 1), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state["memory"], memory, rtol=1e-12, atol=1e-12)
    assert state.keys() == {"memory", "memory.momentum"}  # nothing is kept of the iteration


def test_one_matrix_at_a_time_needs_no_recurrence_between_its_updates() -> None:
    """Updated every so many tokens, a memory runs in blocks: the iteration once a period, not at every token."""
    program = program_from(SYSTEMS["a network every 3 tokens"])
    assert {memory.form for memory in program.memories} == {Form.BLOCKS}
    assert "for _ in range(2 if due else 0):" in emit_module(program)


def test_a_tall_matrix_is_turned() -> None:
    """X (a + b X^T X + ...) is cheaper than (a + b X X^T + ...) X where X surely has more rows than columns."""
    text = emit_module(program_from(NETWORK))
    assert "gram_W1 = orthogonalised_W1.mT @ orthogonalised_W1" in text
    assert "gram_W2 = orthogonalised_W2 @ orthogonalised_W2.mT" in text


def test_the_explanation_names_the_level_that_is_not_linear() -> None:
    program = program_from(SYSTEMS["a network with held gradients over a window"])
    (memory,) = program.memories
    assert memory.members == ("memory.momentum", "memory.orthogonalised", "memory")
    assert memory.classified.because.startswith("memory.orthogonalised starts again at every token")
