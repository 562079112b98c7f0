"""Mutations of arithmetic: one place of a module -> the edits that an operator makes there."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from tests.mutation.scope import in_subscript, is_local_read
from tests.mutation.source import Edit, Place, Source

SIGNS: Mapping[type[ast.operator], tuple[str, str]] = MappingProxyType(
    {ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*")}
)
IN_PLACE: Mapping[type[ast.operator], str] = MappingProxyType({ast.Add: "add_", ast.Sub: "sub_", ast.Mult: "mul_"})


def sign_flipped(place: Place, source: Source) -> Iterator[Edit]:
    match place.node:
        case ast.BinOp(left=left, op=op, right=right) if type(op) in SIGNS:
            yield source.between(left, right, *SIGNS[type(op)])


def minus_added_or_dropped(place: Place, source: Source) -> Iterator[Edit]:
    match place.node:
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            yield source.replaced(place.node, source.of(operand))
        case ast.Assign(targets=[ast.Name()], value=ast.BinOp() as value):
            yield source.replaced(value, f"-({source.of(value)})")
        case ast.Call(func=ast.Attribute(value=ast.Name(id="torch")), args=[_, *operands]):
            yield from (source.replaced(x, f"-{source.atom(x)}") for x in operands if not isinstance(x, ast.Constant | ast.UnaryOp))


def term_dropped(place: Place, source: Source) -> Iterator[Edit]:
    match place.node:
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            yield from (source.replaced(place.node, source.atom(side)) for side in (left, right))
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            yield source.replaced(place.node, source.atom(left))
            yield source.replaced(place.node, f"(-{source.atom(right)})")
        case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"), attr="baddbmm"), args=[_, left, right]):
            yield source.replaced(place.node, f"({source.atom(left)} @ {source.atom(right)})")


def factor_dropped(place: Place, source: Source) -> Iterator[Edit]:
    match place.node:
        case ast.BinOp(left=left, op=ast.Mult() | ast.MatMult() | ast.Div(), right=right):
            yield from (source.replaced(place.node, source.atom(side)) for side in (left, right))


def operands_swapped(place: Place, source: Source) -> Iterator[Edit]:
    match place.node:
        case ast.BinOp(left=left, op=ast.Sub() | ast.MatMult() | ast.Div(), right=right):
            start, end = source.span(place.node)
            between = source.slice(source.span(left)[1], source.span(right)[0]).strip(" ()")
            yield Edit(start, end, f"{source.atom(right)} {between} {source.atom(left)}")


def transposed(place: Place, source: Source) -> Iterator[Edit]:
    match place.node:
        case ast.Attribute(value=value, attr="mT"):
            yield source.replaced(place.node, source.of(value))
        case ast.BinOp(left=left, op=ast.MatMult(), right=right):
            yield from (source.replaced(side, f"{source.atom(side)}.mT") for side in (left, right) if not _is_transpose(side))
        case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"), attr="baddbmm"), args=operands):
            yield from (source.replaced(side, f"{source.atom(side)}.mT") for side in operands if not _is_transpose(side))


def _is_transpose(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "mT"


def done_in_place(place: Place, source: Source) -> Iterator[Edit]:
    """A variable is overwritten; what has no name, nobody else can see."""
    match place.node:
        case ast.BinOp(left=ast.Name() as left, op=op, right=right) if type(op) in IN_PLACE:
            yield source.replaced(place.node, f"{source.atom(left)}.{IN_PLACE[type(op)]}({source.of(right)})")
        case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"), attr="baddbmm") as function, args=[ast.Name() as first, second, *_]):
            yield Edit(source.span(function)[0], source.span(second)[0], f"{source.atom(first)}.baddbmm_(")


def detached(place: Place, source: Source) -> Iterator[Edit]:
    match place.node, place.parent:
        case ast.Name(id=name), ast.BinOp() | ast.Tuple() | ast.Attribute(attr="mT") if is_local_read(place) and not in_subscript(place):
            yield source.replaced(place.node, f"{name}.detach()")
        case ast.Name(id=name), ast.Subscript(value=value, slice=ast.Tuple()) if value is place.node and is_local_read(place):
            yield source.replaced(place.node, f"{name}.detach()")
        case ast.Call(func=ast.Attribute(attr="to" | "mT" | "_start" | "baddbmm" | "tril" | "squeeze")), _:
            yield source.replaced(place.node, f"{source.of(place.node)}.detach()")
