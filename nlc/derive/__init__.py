"""LevelOrder -> Laws: from each level's objective, retention and optimizer to its update rule as named equations.

The gradients are nlc's own: a table of adjoint rules (`adjoints`) and one engine (`gradient`). What this version does not derive
is refused with a diagnostic for each place (`refusals`).
"""

from __future__ import annotations

from nlc.derive.describe import laws_text
from nlc.derive.keep import kept_tensors
from nlc.derive.laws import definitions_of, derive_law, output_equation
from nlc.derive.lets import abbreviated
from nlc.derive.refusals import name_clashes, refusals
from nlc.derive.refused_restarts import restarts_of_slow_levels
from nlc.derive.sequences import beginnings, ending_law, gathering_law
from nlc.derive.starts import resets_of
from nlc.diagnostics import Collector, CompileError
from nlc.ir.law import Laws
from nlc.ir.model import Family
from nlc.ir.order import LevelOrder

__all__ = ["derive_laws", "laws_text"]


def derive_laws(order: LevelOrder) -> Laws:
    """The laws of all levels, as they run at a tick, and the outputs; raises NLC4xx for what is not derived yet, all at once."""
    model = order.model
    if model.network is not None:
        if found := tuple(restarts_of_slow_levels(model)):
            raise CompileError(*found)
        layers, training = (tuple(derive_laws(item) for item in items) for items in (order.layers, order.training))
        return Laws(order=order, laws=(), outputs=(), training=training, layers=layers)
    if found := refusals(model):
        raise CompileError(*found)
    problems = Collector()
    laws, endings = [], []
    inside = {component.name for component in model.fast}
    for component in (model.component(name) for name in order.run_order if name in inside):
        with problems.collecting():
            if component.every.family is not Family.SEQUENCE:
                laws.append(derive_law(order, component))
                continue
            endings.append(ending_law(order, component))
            if component.host is None:
                laws.append(gathering_law(order, component))
    problems.raise_if_any()
    outputs = tuple(output_equation(order, output) for output in model.outputs)
    kept = kept_tensors(order, tuple(laws), outputs, tuple(endings))
    if clashes := name_clashes(model, kept):
        raise CompileError(*clashes)
    training = tuple(derive_laws(item) for item in order.training)
    return Laws(
        order=order,
        laws=tuple(laws),
        outputs=outputs,
        told_outputs=abbreviated(order, None, outputs),
        kept=kept,
        resets=resets_of(order, kept),
        training=training,
        definitions=definitions_of(order),
        endings=tuple(endings),
        beginnings=beginnings(order, kept),
    )
