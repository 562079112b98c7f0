"""An emitted sequence module, driven through its public contract (design section 6): built at drawn sizes, run in each of its ways."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from nlc.ir.program import Program
from nlc.verify.inputs import Drawn, moving
from nlc.verify.observe import System, Tensors
from nlc.verify.run_law import of_tokens


@dataclass(frozen=True, slots=True)
class Emitted:
    """A module instance and the sizes that it was built for; every method takes and gives dicts by name."""

    module: nn.Module
    program: Program
    sizes: Mapping[str, int]

    def forward(self, inputs: Tensors, state: Tensors | None) -> tuple[Tensors, Tensors]:
        """The whole sequence at once, called as users call it."""
        return self._unpacked(*self.module(**inputs, state=self._argument(state)))

    def forward_by_token(self, inputs: Tensors, state: Tensors | None) -> tuple[Tensors, Tensors]:
        """The sequence by its laws."""
        return self._unpacked(*self.module.forward_by_token(**inputs, state=self._argument(state)))  # type: ignore[operator]

    def steps(self, inputs: Tensors, state: Tensors | None) -> tuple[Tensors, Tensors]:
        """The sequence as decoding runs it, one `step` a token; it must have a token."""
        whole = {stream.name for stream in self.program.model.inputs if stream.is_of_sequence}
        sample = inputs[of_tokens(self.program.model)]
        now = self._packed(self.initial_state(sample.shape[0], sample) if state is None else state)
        outputs: dict[str, list[Tensor]] = {output.name: [] for output in self.program.model.outputs}
        for t in range(sample.shape[1]):
            token = {name: stream if name in whole else stream[:, t] for name, stream in inputs.items()}
            emitted, now = self.module.step(**token, state=now)  # type: ignore[operator]
            for name, value in self._unpacked(emitted, now)[0].items():
                outputs[name].append(value)
        return {name: torch.stack(values, 1) for name, values in outputs.items()}, self._unpacked({}, now)[1]

    def next_sequence(self, state: Tensors) -> Tensors:
        """The state with which the next sequence begins."""
        return self._unpacked({}, self.module.next_sequence(self._packed(state)))[1]  # type: ignore[operator]

    @property
    def leaves(self) -> Tensors:
        """The parameters that move, by slot name."""
        return {name: self.parameter(name) for name in moving(self.program.model)}

    @property
    def parameters(self) -> Tensors:
        """All its parameters as they are now, by slot name."""
        return {slot.name: self.parameter(slot.name).detach() for slot in self.program.parameters}

    def parameter(self, slot: str) -> nn.Parameter:
        """The parameter of a slow level; raises AttributeError when the module has none of its name."""
        return self.module.get_parameter(attribute(slot))

    def on(self, device: str) -> Emitted:
        """A copy of the module with its parameters on another device."""
        return replace(self, module=copy.deepcopy(self.module).to(device))

    def initial_state(self, batch: int, like: Tensor) -> Tensors:
        """The state that a sequence starts from, by slot name."""
        axes = (self.sizes[axis] for axis in self.program.model.axes)
        return self._unpacked({}, self.module.initial_state(batch, *axes, like=like))[1]  # type: ignore[operator]

    def ways(self, tokens: int) -> tuple[tuple[str, System], ...]:
        """Its ways to run a sequence, by name."""
        ways: tuple[tuple[str, System], ...] = (("forward", self.forward), ("forward_by_token", self.forward_by_token))
        return (*ways, ("step", self.steps)) if tokens else ways

    def _argument(self, state: Tensors | None) -> Tensor | Tensors | None:
        return None if state is None else self._packed(state)

    def _packed(self, state: Tensors) -> Tensor | Tensors:
        """The state as the module takes it: a bare tensor when there is one slot."""
        slots = self.program.slots
        return state[slots[0].name] if len(slots) == 1 else {slot.name: state[slot.name] for slot in slots}

    def _unpacked(self, outputs: Tensor | Tensors, state: Tensor | Tensors) -> tuple[Tensors, Tensors]:
        names = self.program.model.outputs
        named = {names[0].name: outputs} if isinstance(outputs, Tensor) else outputs
        return named, {self.program.slots[0].name: state} if isinstance(state, Tensor) else state


def attribute(slot: str) -> str:
    """What a module calls the parameter of a slot."""
    return slot.replace(".", "_")


def build(
    module_class: Callable[..., nn.Module], program: Program, drawn: Drawn, dtype: torch.dtype = torch.float64, **wishes: str | int
) -> Emitted:
    """The module at drawn sizes, by keyword; hyperparameters and chunk too, unless the evidence is drawn for its defaults; and `wishes`.

    Its parameters, in a dtype, are those drawn.
    """
    model = program.model
    dims = {dim.name: drawn.sizes[dim.name] for dim in model.dims if dim.definition is None}
    chunk = {"chunk": drawn.chunk} if program.has_chunk else {}
    numbers = {item.name: drawn.hyperparameters[item.name] for item in program.hyperparameters}
    module = module_class(**dims, **wishes) if drawn.by_default else module_class(**dims, **numbers, **chunk, **wishes)
    emitted = Emitted(module.to(dtype) if drawn.parameters else module, program, drawn.sizes)
    with torch.no_grad():
        for slot, value in drawn.parameters.items():
            emitted.parameter(slot).copy_(value)
    return emitted
