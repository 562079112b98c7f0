"""A syntax tree -> whether it is small enough for the stages that walk it recursively."""

from __future__ import annotations

from nlc.ir.spec import Binary, Call, Comparison, Duration, Function, Listing, Name, Negate, Number, Syntax

DEEPEST_TREE = 200
MOST_PARTS = 2000


def children(syntax: Syntax) -> tuple[Syntax, ...]:
    """The operands of a node, left to right."""
    match syntax:
        case Name() | Number():
            return ()
        case Negate(operand) | Duration(operand) | Function(_, operand):
            return (operand,)
        case Binary(_, left, right):
            return (left, right)
        case Comparison(operands) | Listing(operands):
            return operands
        case Call(function, arguments, keywords):
            return (function, *arguments, *(value for _, value in keywords))


def is_too_large(tree: Syntax) -> bool:
    """Whether later stages, which walk trees recursively, could run out of stack or time; itself without recursion."""
    layer: tuple[Syntax, ...] = (tree,)
    parts = depth = 0
    while layer and parts <= MOST_PARTS and depth <= DEEPEST_TREE:
        parts, depth = parts + len(layer), depth + 1
        layer = tuple(child for node in layer for child in children(node))
    return parts > MOST_PARTS or depth > DEEPEST_TREE
