"""What users of an emitted module may rely on about its slow levels: which parameters it has, and how they start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from nlc.ir.algebra import Expr, Hyperparameter, Parameter
from nlc.ir.program import Program, StateSlot
from nlc.verify.bounds import magnitude
from nlc.verify.emitted import Emitted, attribute
from nlc.verify.evaluate import Evaluator
from nlc.verify.inputs import Drawn, default_sizes, moving
from nlc.verify.relation import ModuleClass, Relation, pair
from nlc.verify.square import Square


def _parameters(module_class: ModuleClass, emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """Slow levels, and nothing else, are parameters: of their shapes, in the state_dict, and frozen ones without gradients."""
    program = emitted.program
    for module, sizes in ((module_class(), default_sizes(program.model)), (emitted.module, drawn.sizes)):
        wrong = [*_misnamed(program, module), *_misshapen(program, module, sizes)]
        yield pair("module", drawn, left="spec").square("slow levels", float(len(wrong)), 0.0, ", ".join(wrong))


def _misnamed(program: Program, module: nn.Module) -> Iterator[str]:
    wanted = {attribute(slot.name) for slot in program.parameters}
    for what, names in (("parameter", dict(module.named_parameters())), ("tensor of the state_dict", module.state_dict())):
        yield from (f"{name} is no {what}" for name in sorted(wanted - names.keys()))
        yield from (f"the {what} {name} is no slow level" for name in sorted(names.keys() - wanted))


def _misshapen(program: Program, module: nn.Module, sizes: Mapping[str, int]) -> Iterator[str]:
    found = dict(module.named_parameters())
    moved = {attribute(name) for name in moving(program.model)}
    for slot in program.parameters:
        name, shape = attribute(slot.name), tuple(dim.size(sizes) for dim in slot.shape)
        if name in found and found[name].shape != shape:
            yield f"{name} is {tuple(found[name].shape)}, not {shape}"
        if name in found and found[name].requires_grad is not (name in moved):
            yield f"{name} has requires_grad = {found[name].requires_grad}"


def _starts(module_class: ModuleClass, emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """A slow level with an `init` starts from it."""
    program = emitted.program
    sizes = default_sizes(program.model)
    numbers = {item.name: torch.tensor(float(item.default), dtype=torch.float64) for item in program.model.hyperparameters}

    found = dict(module_class().named_parameters())
    slots = {(slot.component, slot.part): attribute(slot.name) for slot in program.parameters}

    def leaf(node: Expr) -> Tensor:
        match node:
            case Hyperparameter(name):
                return numbers[name]
            case Parameter(component, part):
                return found[slots[component, part]].detach().double()
        raise ValueError(f"a slow level cannot start from {node}")

    evaluate = Evaluator(sizes, torch.zeros((), dtype=torch.float64), leaf)
    wanted = {
        attribute(slot.name): evaluate(slot.start).expand(tuple(dim.size(sizes) for dim in slot.shape))
        for slot in program.parameters
        if slot.start is not None
    }
    if wanted:
        once = replace(pair("module", drawn, left="spec"), ticks=0, width=1)
        begun = {name: found[name].detach() for name in wanted if name in found}
        yield once.closeness("start of slow levels", wanted, begun, magnitude(wanted.values()), torch.float32)


def _draws(module_class: ModuleClass, emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """Without an `init` slow levels start as layers of torch do: vectors at 0, matrices below columns ** -0.5, kernels rows ** -0.5."""
    sizes = default_sizes(emitted.program.model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(drawn.seed)
        module = module_class()
        begun = {name: tensor.detach().clone() for name, tensor in module.named_parameters()}
        for parameter in module.parameters():
            nn.init.constant_(parameter, float("nan"))
        torch.manual_seed(drawn.seed)
        if begun:
            module.reset_parameters()  # type: ignore[operator]
    again = {name: tensor.detach() for name, tensor in module.named_parameters()}
    if begun:
        yield pair("reset_parameters", drawn, left="constructor").equality("start of slow levels", begun, again)
    for slot in emitted.program.parameters:
        if slot.start is None:
            wrong = unlike_uniform(begun[attribute(slot.name)], draw_bound(emitted.program, slot, sizes))
            yield pair("module", drawn, left="spec").square(
                "draw of slow levels", float(bool(wrong)), 0.0, wrong and f"{slot.name} {wrong}"
            )


def draw_bound(program: Program, slot: StateSlot, sizes: Mapping[str, int]) -> float:
    """Below what a slow level without an `init` is drawn: by how many terms are added up with it; a vector is 0."""
    added = slot.shape[:1] if program.is_kernel(slot) else slot.shape[1:]
    return float(added[0].size(sizes) ** -0.5) if added else 0.0


def unlike_uniform(x: Tensor, bound: float) -> str:
    """What tells numbers from even draws between -bound and bound: they leave it, or stay far from an end, which one in 10^9 such would."""
    reach = bound * (2 * CHANCE ** (1 / x.numel()) - 1)
    if not bool((x.abs() <= bound * (1 + EPSILON)).all()):
        return f"leaves -{bound:.3g} .. {bound:.3g}"
    return "" if float(x.max()) >= reach and float(x.min()) <= -reach else f"keeps from the ends of -{bound:.3g} .. {bound:.3g}"


CHANCE, EPSILON = 1e-9, 1e-6

SLOW_LEVELS: tuple[Relation, ...] = (_parameters, _starts, _draws)
