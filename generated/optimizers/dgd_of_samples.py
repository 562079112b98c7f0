"""DGDOfSamples, compiled from its description.

Delta gradient descent by the mean over the data of the step that each would take alone, which has a closed form; of one datum it is the
same as the solution for all at once.

Compiled by nlc from specs/optimizers/dgd_of_samples.yaml. Edit the spec, not this file.
sha256 of the spec: d1d6bd96aad42e777ec8aadc8efefd9781aebb882d160b1bbb0eb0e1906535ea

Levels, fastest first (Nested Learning, Definition 2)
    rank  components  every  paper's number (slowest highest / slowest first)
    0     weights     step   1 / 1

Timetable
    every step  weights

Laws, per step; prev is the state before
    error             = prev(weights) @ transpose(layer_input) + transpose(output_gradient)  abbreviation
    implicit_rate     = learning_rate / (1 + learning_rate * sum(layer_input ** 2, over = columns(weights)))
                        abbreviation
    weights_gradient  = 2 * (0.5 / data * (implicit_rate * error @ layer_input))
                        objective 0.5 * (sum(implicit_rate * (weights @ transpose(layer_input) + transpose(output_gradient)) ** 2) /
                        data); calculus
    weights           = prev(weights) - weights_gradient
                        explicit gradient step; nl:eq-56; nl:eq-57; sherman-morrison
"""

import math
from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor, distributed, nn
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

__all__ = ["DGDOfSamples"]


class DGDOfSamples(Optimizer):
    """DGDOfSamples, a torch optimizer.

    Delta gradient descent by the mean over the data of the step that each would take alone, which has a closed form; of one datum
    it is the same as the solution for all at once.

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
                raise ValueError(f"DGDOfSamples moves matrices, not parameter {name} of shape {tuple(x.shape)}")

    def attach(self, module: nn.Module) -> None:
        """Record the data of the linear layers in a module whose weights this optimizer moves, at every pass with gradients.

        Of a DistributedDataParallel a step takes the data of all processes.
        """
        weights = {x for group in self.param_groups for x in group["params"]}
        layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear) and layer.weight in weights]
        if not layers:
            raise ValueError("no linear layer of this module has a weight that DGDOfSamples moves")
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
                raise RuntimeError(f"DGDOfSamples: {what}; attach(module) before the forward pass, or record(...) after it")

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
        data = len(layer_input[0])
        stacked_weights = _stacked(weights)
        stacked_layer_input = _stacked(layer_input)
        stacked_output_gradient = _stacked(output_gradient)
        # error = prev(weights) @ transpose(layer_input) + transpose(output_gradient)
        error = torch.baddbmm(stacked_output_gradient.mT, stacked_weights, stacked_layer_input.mT)
        # implicit_rate = learning_rate / (1 + learning_rate * sum(layer_input ** 2, over = columns(weights)))
        implicit_rate = learning_rate / (1 + learning_rate * (stacked_layer_input**2).sum(-1))
        # weights_gradient = 2 * (0.5 / data * (implicit_rate * error @ layer_input))
        # weights = prev(weights) - weights_gradient
        polynomial = implicit_rate[..., None, :] * error
        stacked_weights = torch.baddbmm(stacked_weights, polynomial, stacked_layer_input, alpha=-2 * (0.5 / data))
        torch._foreach_copy_(weights, stacked_weights.unbind())


def _checked(gradient: Tensor) -> Tensor:
    if gradient.is_sparse or gradient.is_complex():
        raise ValueError("DGDOfSamples takes dense real gradients, neither sparse nor complex ones")
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


# sealed by nlc, sha256 of everything above: acc6f89c709943ed9e5bf5f3e81d74fd89061ea6d390177774af53b1ef6cc24a
