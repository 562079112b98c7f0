"""DGD, compiled from its description.

Delta gradient descent; the weights move to where they answer the inputs of their layer with minus the gradients of its outputs, as near to
the old ones as the rate asks. All data are solved for at once.

Compiled by nlc from specs/optimizers/dgd.yaml. Edit the spec, not this file.
sha256 of the spec: a7ceb3012f14168cedfd4f4904123e24e9a13b2b133041313ff6dbea6b37f5c3

Levels, fastest first (Nested Learning, Definition 2)
    rank  components  every  paper's number (slowest highest / slowest first)
    0     weights     step   1 / 1

Timetable
    every step  weights

Laws, per step; prev is the state before
    weights_gradient  = (prev(weights) @ transpose(layer_input) + transpose(output_gradient)) @ layer_input
                        objective 0.5 * norm2(weights @ transpose(layer_input) + transpose(output_gradient)); calculus
    curved            = eye + learning_rate * (transpose(layer_input) @ layer_input)          how the objective curves, beside the distance
    weights           = prev(weights) - learning_rate * (weights_gradient @ inverse(curved))  implicit gradient step; nl:eq-56; nl:eq-57
"""

import math
from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor, distributed, nn
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

__all__ = ["DGD"]


class DGD(Optimizer):
    """DGD, a torch optimizer.

    Delta gradient descent; the weights move to where they answer the inputs of their layer with minus the gradients of its outputs,
    as near to the old ones as the rate asks. All data are solved for at once.

    Takes the parameters first (tensors or groups of them), then by keyword, also for each group apart:
        learning_rate = 0.01
    Takes matrices alone.
    Groups keep the learning rate as `lr`, which is what torch's schedulers change.
    A gradient that is not finite stops a step with `nonfinite="raise"`, passes it over with "skip"; both wait for the device.
    Needs the data of the layers of its weights: `attach(module)` before the forward pass, or `record(...)` after it.
    """

    def __init__(self, params: ParamsT, learning_rate: float = 0.01, nonfinite: str | None = None) -> None:
        self.nonfinite = _policy(nonfinite)
        self.contexts: dict[Tensor, dict[str, Tensor]] = {}
        self.followed: dict[nn.Linear, Any] = {}
        self.processes: distributed.ProcessGroup | None = None
        super().__init__(params, {"lr": learning_rate})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with hyperparameters of their own; raises ValueError for one that makes no sense."""
        if "learning_rate" in param_group:
            param_group["lr"] = param_group.pop("learning_rate")
        for name, default in self.defaults.items():
            value = param_group.get(name, default)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number, not {value!r}")
            if name == "lr" and value < 0:
                raise ValueError(f"learning_rate must not be negative, but it is {value}")
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for name, x in zip(group.get("param_names", range(len(group["params"]))), group["params"], strict=True):
            if x.ndim != 2:
                self.param_groups.pop()
                raise ValueError(f"DGD moves matrices, not parameter {name} of shape {tuple(x.shape)}")

    def attach(self, module: nn.Module) -> None:
        """Record the data of the linear layers in a module whose weights this optimizer moves, at every pass with gradients.

        Of a DistributedDataParallel a step takes the data of all processes.
        """
        weights = {x for group in self.param_groups for x in group["params"]}
        layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear) and layer.weight in weights]
        if not layers:
            raise ValueError("no linear layer of this module has a weight that DGD moves")
        if isinstance(module, nn.parallel.DistributedDataParallel):
            self.processes = module.process_group
        for layer in layers:
            if layer not in self.followed:
                self.followed[layer] = layer.register_forward_hook(self._follow, with_kwargs=True)

    def detach(self) -> None:
        """Record no layers any more, and forget what was recorded since the last step."""
        for handle in self.followed.values():
            handle.remove()
        self.followed.clear()
        self.processes = None
        self.contexts.clear()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, and the data that they come from."""
        super().zero_grad(set_to_none)
        self.contexts.clear()

    def record(self, weight: Tensor, layer_input: Tensor, output_gradient: Tensor) -> None:
        """Add data of the layer of a weight, one in each row, to those of its gradient."""
        data = {"layer_input": layer_input, "output_gradient": output_gradient}
        dtype = torch.promote_types(weight.dtype, torch.float32)
        known = self.contexts.get(weight)
        for name, rows in data.items():
            rows = rows.detach().reshape(-1, rows.shape[-1]).to(dtype)
            data[name] = rows if known is None else torch.cat([known[name], rows])
        self.contexts[weight] = data

    def _follow(self, layer: nn.Linear, arguments: tuple[Tensor, ...], words: dict[str, Tensor], output: Any) -> None:
        """Record a pass through a layer when its gradient is known."""
        if output.requires_grad:
            given = arguments[0] if arguments else words["input"]
            output.register_hook(lambda slope: self.record(layer.weight, given, slope))

    def _everywhere(self, rows: Tensor) -> Tensor:
        """The rows of all processes, which may have differently many."""
        number = rows.new_tensor([len(rows)], dtype=torch.int64)
        numbers = [torch.zeros_like(number) for _ in range(distributed.get_world_size(self.processes))]
        distributed.all_gather(numbers, number, group=self.processes)
        counts = [int(count) for count in numbers]
        padded = nn.functional.pad(rows, (0, 0, 0, max(counts) - len(rows)))
        pieces = [torch.empty_like(padded) for _ in counts]
        distributed.all_gather(pieces, padded, group=self.processes)
        return torch.cat([piece[:count] for piece, count in zip(pieces, counts, strict=True)])

    def _gather(self) -> None:
        """The data of all processes, whose gradients are averaged: each has its share in the slopes."""
        if self.processes is None:
            return
        number = distributed.get_world_size(self.processes)
        weights = [x for group in self.param_groups for x in group["params"] if x.grad is not None]
        self._require_data(weights)
        for x in weights:
            shares = {name: rows / number if name == "output_gradient" else rows for name, rows in self.contexts[x].items()}
            self.contexts[x] = {name: self._everywhere(rows) for name, rows in shares.items()}

    def _require_data(self, weights: list[Tensor]) -> None:
        for x in weights:
            if x not in self.contexts:
                what = f"a parameter of shape {tuple(x.shape)} has a gradient, but no data of its layer"
                raise RuntimeError(f"DGD: {what}; attach(module) before the forward pass, or record(...) after it")

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update of every parameter that has a gradient; returns what `closure`, which computes the gradients anew, returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self.nonfinite is not None and not _are_finite(self.param_groups):
            if self.nonfinite == "raise":
                raise FloatingPointError("a gradient is not finite; this step has changed nothing")
            self.contexts.clear()
            return loss
        self._gather()
        for group in self.param_groups:
            self._update(group)
        self.contexts.clear()
        return loss

    def _update(self, group: dict[str, Any]) -> None:
        """The laws, for all tensors of a group at once, as far as they are alike."""
        weights = [x for x in group["params"] if x.grad is not None]
        self._require_data(weights)
        kinds = [(x.shape, len(self.contexts[x]["layer_input"])) for x in weights]
        for place, kind in enumerate(kinds):
            if kind not in kinds[:place]:
                self._move([x for x, own in zip(weights, kinds, strict=True) if own == kind], group)

    def _move(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """One update of tensors of one shape, with equally many data."""
        for x in weights:
            if x.grad is not None:
                _checked(x.grad)
        layer_input = [self.contexts[x]["layer_input"] for x in weights]
        output_gradient = [self.contexts[x]["output_gradient"] for x in weights]
        learning_rate = group["lr"]
        columns = weights[0].shape[1]
        stacked_weights = _stacked(weights)
        stacked_layer_input = _stacked(layer_input)
        stacked_output_gradient = _stacked(output_gradient)
        identity_of_columns = torch.eye(columns, dtype=stacked_weights.dtype, device=stacked_weights.device)
        # curved = eye + learning_rate * (transpose(layer_input) @ layer_input)
        curved = torch.baddbmm(identity_of_columns, stacked_layer_input.mT, stacked_layer_input, alpha=learning_rate)
        # weights_gradient = (prev(weights) @ transpose(layer_input) + transpose(output_gradient)) @ layer_input
        # weights = prev(weights) - learning_rate * (weights_gradient @ inverse(curved))
        polynomial = torch.baddbmm(stacked_output_gradient.mT, stacked_weights, stacked_layer_input.mT) @ stacked_layer_input
        stacked_weights = torch.baddbmm(stacked_weights, polynomial, _inverse(curved), alpha=-learning_rate)
        torch._foreach_copy_(weights, stacked_weights.unbind())


def _checked(gradient: Tensor) -> Tensor:
    if gradient.is_sparse or gradient.is_complex():
        raise ValueError("DGD takes dense real gradients, neither sparse nor complex ones")
    return gradient


def _policy(nonfinite: str | None) -> str | None:
    if nonfinite not in (None, "raise", "skip"):
        raise ValueError(f'nonfinite must be "raise", "skip" or None, not {nonfinite!r}')
    return nonfinite


def _are_finite(groups: list[dict[str, Any]]) -> bool:
    """Whether all entries of all gradients are; this waits for the device."""
    finite = [_checked(x.grad).isfinite().all() for group in groups for x in group["params"] if x.grad is not None]
    return all(finite)


def _stacked(matrices: list[Tensor], dtype: torch.dtype | None = None) -> Tensor:
    """Matrices of one shape as one tensor (number, rows, columns)."""
    stacked = torch.stack(matrices)
    return stacked.to(dtype or torch.promote_types(stacked.dtype, torch.float32))


def _inverse(x: Tensor) -> Tensor:
    """The inverses of square matrices (..., n, n), computed in float32 where x is narrower."""
    inverse: Tensor = torch.linalg.inv(x.to(torch.promote_types(x.dtype, torch.float32)))
    return inverse.to(x.dtype)


# sealed by nlc, sha256 of everything above: 59c79d8d038b1c64681bb10e02fc5faeb5d1aa6d4289b8efeb08ddef23a564a3
