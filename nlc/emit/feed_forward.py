"""A program that carries nothing -> the body of `forward` and of `step`: its outputs, of all tokens at once or of one."""

from __future__ import annotations

from nlc.emit.layout import Lines, assignment, block, indented
from nlc.emit.names import LocalNames, attribute
from nlc.emit.parameters import read_parameters
from nlc.emit.scope import Sequence, converted, define, input_values, output_printer, printer_of, size_text
from nlc.ir.algebra import Expr, Named


def is_feed_forward(sequence: Sequence) -> bool:
    """Whether nothing is carried from token to token."""
    return not sequence.program.slots


def feed_forward_body(sequence: Sequence, *, time: bool) -> Lines:
    """The outputs, computed in float32 or wider."""
    names, like = LocalNames((*sequence.inputs, "state")), sequence.like.name
    dtype, wide = names.new("dtype"), names.new("wide")
    values: dict[Expr, str] = input_values(sequence, part="-1")
    lines = [
        (f"{dtype} = {like}.dtype",),
        (f"{wide} = torch.promote_types({dtype}, torch.float32)",),
        *converted(sequence, wide, time=time),
        *read_parameters(sequence, wide, names, values),
        *define(sequence, names, values),
    ]
    results = {}
    for equation in sequence.program.laws.outputs:
        printer = output_printer(sequence, printer_of(sequence, values), equation.name)
        local = results[equation.name] = names.new(equation.name)
        terms = printer.terms(equation.value)
        if not (printer.is_bare or sequence.spans_axes(equation.value)):
            leading = ", ".join((f"*{like}.shape[:{2 if time else 1}]", *_axes(sequence, time)))
            terms = (f"({printer.text(equation.value)}).expand({leading}{size_text(sequence, equation.value.shape)})",)
        lines.append(assignment(local, terms, 12))
        values[Named(equation.name, equation.value.shape)] = local
    returned = {name: f"{local}.to({dtype})" for name, local in results.items()}
    text = ", ".join(f'"{name}": {value}' for name, value in returned.items())
    lines.append((f"return {next(iter(returned.values())) if len(returned) == 1 else '{' + text + '}'}, {{}}",))
    return (f"with _full_precision({like}):", *indented(block(lines)))


def _axes(sequence: Sequence, time: bool) -> list[str]:
    """The sizes of the axes, as far as the module knows them."""
    like, dims = sequence.like, {item.name for item in sequence.model.dims}
    first = 2 if time else 1
    known = {axis: f"{like.name}.shape[{first + place}]" for place, axis in enumerate(like.axes)}
    return [attribute(axis) if axis in dims else known.get(axis, "1") for axis in sequence.model.axes]
