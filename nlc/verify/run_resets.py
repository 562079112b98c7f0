"""States that start again where a block does -> the states that its tokens find: as they begun, as others now are, or cut off."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from nlc.ir.algebra import Expr, Hyperparameter, Parameter, State, contains
from nlc.ir.law import POSITION, Laws
from nlc.verify.evaluate import Evaluator
from nlc.verify.run_law import Slot

Start = Callable[[Expr, Mapping[Slot, Tensor]], Tensor]
"""What a state starts from, where other states are as they are."""


def reset_states(laws: Laws, states: dict[Slot, Tensor], begun: dict[Slot, Tensor], start: Start) -> dict[Slot, Tensor]:
    """The states as the next tick finds them."""
    new = dict(states)
    for item in laws.resets:
        seen = states[POSITION, ""]
        slot = (item.state.component, item.state.part)
        reads = contains(item.value, lambda node: isinstance(node, State))
        again = states[slot].detach() if item.is_cut_off else start(item.value, new) if reads else begun[slot]
        new[slot] = torch.where((seen > 0) & (seen % item.period == 0), again, states[slot])
    return new


def start_from_others(sizes: Mapping[str, int], like: Tensor, numbers: Mapping[str, Tensor], parameters: Mapping[Slot, Tensor]) -> Start:
    """What evaluates starts over numbers, slow levels and the states of others."""

    def start(node: Expr, states: Mapping[Slot, Tensor]) -> Tensor:
        def leaf(part: Expr) -> Tensor:
            match part:
                case Hyperparameter(name):
                    return numbers[name]
                case Parameter(component, tensor):
                    return parameters[component, tensor]
                case State(component, tensor):
                    return states[component, tensor]
            raise ValueError(f"a start cannot hold {part}")

        return Evaluator(sizes, like, leaf)(node)

    return start
