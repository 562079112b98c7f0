"""Memories of several tensors have one class for all of them, a reason, and a slot for each."""

from __future__ import annotations

import pytest

from nlc.derive import derive_laws
from nlc.ir.affine import Transition
from nlc.ir.program import Form, Program
from nlc.order import order_levels
from nlc.schedule import schedule_program
from tests.resolve.specs import resolve

AFFINE = "define:\n  affine: {states: {V: [d_v, d_k], c: [d_v]}, read: (x) -> V @ x + c}"


def program(**changes: str) -> Program:
    return schedule_program(derive_laws(order_levels(resolve(level="keys: k\n    values: v", **changes))))


@pytest.mark.parametrize(
    ("changes", "transition", "because"),
    [
        (
            {"memory": "mlp(d_k, 2, d_v)"},
            Transition.NONLINEAR,
            "the new W1 reads gelu(prev(memory.W1) @ k), which is not affine in the old W1 and W2",
        ),
        (
            {"memory": "mlp(d_k, 2, 2, d_v)", "objective": "dot"},
            Transition.NONLINEAR,
            "the new W1 reads gelu(prev(memory.W1) @ k), which is not affine in the old W1, W2 and W3",
        ),
        (
            {"top": AFFINE, "memory": "affine"},
            Transition.DENSE,
            "the states V and c move as one, but have not the same shape: they have no common normal form",
        ),
        (
            {"memory": "mlp(d_k, 2, d_v)", "optimizer": "momentum(beta)"},
            Transition.NONLINEAR,
            "the new memory.momentum.W1 reads gelu(prev(memory.W1) @ k), which is not affine in the old "
            "memory.momentum.W1, memory.momentum.W2, memory.W1 and memory.W2",
        ),
    ],
)
def test_several_tensors_move_as_one(changes: dict[str, str], transition: Transition, because: str) -> None:
    made = program(**{"objective": "l2", **changes})
    memory = made.memories[-1]
    assert (memory.form, memory.classified.transition, memory.classified.because) == (Form.RECURRENCE, transition, because)
    assert not made.is_parallel


def test_each_tensor_has_a_slot() -> None:
    names = [slot.name for slot in program(memory="mlp(d_k, 2, d_v)", objective="l2", optimizer="momentum(beta)").slots]
    assert names == ["memory.momentum.W1", "memory.momentum.W2", "memory.W1", "memory.W2"]
