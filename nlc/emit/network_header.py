"""The program of a model -> the docstring of its module: where it comes from, its levels, its network, and each layer's laws and forms."""

from __future__ import annotations

from collections.abc import Iterator

from nlc.emit.header import forms_lines, laws_lines, levels_lines, spec_path, title_lines, trainings_lines
from nlc.emit.layout import WIDTH, Lines
from nlc.emit.prose import prose
from nlc.ir.network import Embed, Head, Layer, Normalise, Part, Repeat, Residual
from nlc.ir.program import Program
from nlc.ir.show import expression_text


def network_header(program: Program) -> Lines:
    """The lines of the docstring; the first stands beside the quotes."""
    lines = (*title_lines(program), *levels_lines(program), *_network(program), *_layers(program), *trainings_lines(program))
    return tuple(line.rstrip() for line in lines)


def _network(program: Program) -> Iterator[str]:
    network = program.model.network
    assert network is not None
    yield ""
    yield "Network"
    yield from (f"    {line}" for part in network.parts for line in part_lines(program, part))


def part_lines(program: Program, part: Part) -> Iterator[str]:
    """A part in the words of the spec."""
    match part:
        case Embed(level, rows, width):
            yield f"{level}: {rows} -> {width}"
        case Normalise(level):
            yield f"{level}: rms_norm"
        case Head(level, is_tied, rows, width):
            yield f"head: {width} -> {rows}" + (f", tied to {level}" if is_tied else "")
        case Layer(name, place, _, arguments):
            bound = ", ".join(f"{key} = {expression_text(value)}" for key, value in arguments)
            yield f"{name}: {program.layers[place].model.name}({bound})"
        case Residual(branches):
            for branch in branches:
                first, *rest = (line for item in branch for line in part_lines(program, item))
                yield f"+ {first}"
                yield from (f"  {line}" for line in rest)
        case Repeat(name, count, parts):
            yield f"{name}, {count} times over:"
            yield from (f"    {line}" for item in parts for line in part_lines(program, item))


def _layers(program: Program) -> Iterator[str]:
    for layer in program.layers:
        yield ""
        yield f"{layer.model.name}, from {prose(spec_path(layer.model.path))}"
        yield from (f"    {line}" if line else "" for line in (*laws_lines(layer, WIDTH - 4), *forms_lines(layer, WIDTH - 4)))
