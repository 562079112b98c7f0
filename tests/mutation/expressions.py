"""Mutations of indices, calls, constants, conditions and names: one place of a module -> the edits that an operator makes there."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from itertools import pairwise
from types import MappingProxyType

from tests.mutation.scope import attributes_of_self, in_subscript, is_local_read, locals_of, parameters
from tests.mutation.source import Edit, Place, Source

COMPARISONS: Mapping[type[ast.cmpop], tuple[str, str]] = MappingProxyType(
    {
        ast.Lt: ("<", "<="),
        ast.LtE: ("<=", "<"),
        ast.Gt: (">", ">="),
        ast.GtE: (">=", ">"),
        ast.Eq: ("==", "!="),
        ast.NotEq: ("!=", "=="),
        ast.Is: ("is", "is not"),
        ast.IsNot: ("is not", "is"),
        ast.In: ("in", "not in"),
        ast.NotIn: ("not in", "in"),
    }
)
OTHER_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "new_zeros": "new_ones",
        "zeros_like": "ones_like",
        "new_empty": "new_ones",
        "tril": "triu",
        "float32": "bfloat16",
        "no_grad": "enable_grad",
        "enable_grad": "no_grad",
        "mul_": "add_",
        "_foreach_add_": "_foreach_add",
        "_foreach_mul_": "_foreach_mul",
        "_foreach_copy_": "_foreach_add_",
        "cat": "stack",
        "isfinite": "isnan",
    }
)
"""Attributes that are taken for each other."""


# --- indices -----------------------------------------------------------------------------------------------------


def index_changed(place: Place, source: Source) -> Iterator[Edit]:
    """0 <-> 1, -1 <-> 0, n -> n - 1."""
    match place.node, place.parent:
        case ast.Constant(value=int(value)), ast.Subscript() | ast.Tuple() | ast.Slice() if in_subscript(place):
            yield source.replaced(place.node, str(value - 1 if value > 0 else 1))
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int())), ast.Subscript() | ast.Tuple() | ast.Slice() if in_subscript(
            place
        ):
            yield source.replaced(place.node, "0")


def slice_changed(place: Place, source: Source) -> Iterator[Edit]:
    """A bound dropped, `1:` <-> `:-1`, and `:` -> `1:`."""
    match place.node:
        case ast.Slice(lower=None, upper=None):
            yield source.replaced(place.node, "1:")
        case ast.Slice(lower=ast.expr() as lower, upper=None):
            yield source.replaced(place.node, ":")
            yield source.replaced(place.node, f":-{source.of(lower).removeprefix('-')}")
        case ast.Slice(lower=None, upper=ast.expr() as upper):
            yield source.replaced(place.node, ":")
            yield source.replaced(place.node, f"{source.of(upper).removeprefix('-')}:")


def new_dim_moved(place: Place, source: Source) -> Iterator[Edit]:
    """`x[..., None]` <-> `x[..., None, :]`, and the like."""
    match place.node:
        case ast.Subscript(slice=ast.Tuple(elts=[ast.Constant(value=other), ast.Constant(value=None)]) as index) if other is ...:
            yield source.replaced(index, "..., None, :")
        case ast.Subscript(slice=ast.Tuple(elts=[*elements])):
            yield from (source.swapped(left, right) for left, right in pairwise(elements) if _is_none(left) != _is_none(right))


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


# --- calls, tuples and constants ---------------------------------------------------------------------------------


def mask_moved(place: Place, source: Source) -> Iterator[Edit]:
    match place.node:
        case ast.Call(func=ast.Attribute(value=value, attr="tril"), args=arguments):
            present = source.of(arguments[0]) if arguments else "0"
            yield from (
                source.replaced(place.node, f"{source.atom(value)}.tril({other})") for other in ("-1", "0", "1") if other != present
            )


def call_dropped(place: Place, source: Source) -> Iterator[Edit]:
    """A method's receiver, and each argument of a function that is not the last or only keyword, instead of the call."""
    match place.node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="torch" | "self" | "math")) | ast.Name(), args=arguments):
            positional = (x for x in arguments if not isinstance(x, ast.Constant | ast.UnaryOp | ast.GeneratorExp | ast.Starred))
            yield from (source.replaced(place.node, source.atom(x)) for x in positional)
        case ast.Call(func=ast.Attribute(value=value)) if not isinstance(value, ast.Call) or _is_tensor_method(place.node):
            yield source.replaced(place.node, source.atom(value))


def _is_tensor_method(node: ast.Call) -> bool:
    return not (isinstance(node.func, ast.Attribute) and node.func.attr in ("__init__", "add_param_group", "items"))


def arguments_swapped(place: Place, source: Source) -> Iterator[Edit]:
    """Neighbouring arguments, or the values of neighbouring keywords, in each other's place."""
    if isinstance(place.node, ast.Call):
        positional = [x for x in place.node.args if not isinstance(x, ast.Starred)]
        values = [x.value for x in place.node.keywords]
        yield from (source.swapped(*pair) for group in (positional, values) for pair in pairwise(group) if _differ(*pair, source))


def elements_swapped(place: Place, source: Source) -> Iterator[Edit]:
    """Neighbours in a tuple, an element of a subscript excepted; or the values of neighbouring keys of a dict."""
    match place.node, place.parent:
        case ast.Tuple(elts=elements), parent if not isinstance(parent, ast.Subscript):
            yield from (source.swapped(*pair) for pair in pairwise(elements) if _differ(*pair, source))
        case ast.Dict(values=values), _:
            yield from (source.swapped(*pair) for pair in pairwise(values))


def _differ(left: ast.expr, right: ast.expr, source: Source) -> bool:
    return source.of(left) != source.of(right)


def keyword_dropped(place: Place, source: Source) -> Iterator[Edit]:
    if not isinstance(place.node, ast.Call):
        return
    parts = [*place.node.args, *place.node.keywords]
    for number, part in enumerate(parts):
        if isinstance(part, ast.keyword) and part.arg is not None:
            start, end = source.span(part)
            if number:
                start = source.span(parts[number - 1])[1]
            elif len(parts) > 1:
                end = source.span(parts[1])[0]
            yield Edit(start, end, "")


def constant_changed(place: Place, source: Source) -> Iterator[Edit]:
    """Another truth value, the next whole number, twice a float; numbers in subscripts are left to `index_changed`."""
    match place.node:
        case ast.Constant(value=bool(value)):
            yield source.replaced(place.node, str(not value))
        case ast.Constant(value=int(value)) if not in_subscript(place) and not _is_negative_index(place):
            yield source.replaced(place.node, str(value + 1))
        case ast.Constant(value=float(value)):
            yield source.replaced(place.node, repr(2 * value + (value == 0)))
        case ast.Constant(value=None) if isinstance(place.parent, ast.Assign | ast.Return):
            yield source.replaced(place.node, "0")


def _is_negative_index(place: Place) -> bool:
    return isinstance(place.parent, ast.UnaryOp) and in_subscript(Place(place.parent, place.around[:-1]))


def key_changed(place: Place, source: Source) -> Iterator[Edit]:
    """A string becomes the next of the file's keys."""
    match place.node:
        case ast.Constant(value=str(value)) if value.isidentifier():
            keys = sorted({value, *_keys(source.tree)})
            other = keys[(keys.index(value) + 1) % len(keys)]
            yield source.replaced(place.node, f'"{other if other != value else value + "_"}"')


def _keys(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(value)) if value.isidentifier() and value[0].islower():
                yield value


def word_changed(place: Place, source: Source) -> Iterator[Edit]:
    match place.node:
        case ast.Attribute(attr=attr) if attr in OTHER_WORDS:
            end = source.span(place.node)[1]
            yield Edit(end - len(attr), end, OTHER_WORDS[attr])


# --- conditions --------------------------------------------------------------------------------------------------


def comparison_changed(place: Place, source: Source) -> Iterator[Edit]:
    match place.node:
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            yield source.between(left, right, *COMPARISONS[type(op)])
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield source.replaced(place.node, source.of(operand))


def condition_fixed(place: Place, source: Source) -> Iterator[Edit]:
    match place.node:
        case ast.If(test=test) | ast.IfExp(test=test):
            yield from (source.replaced(test, value) for value in ("True", "False"))
        case ast.BoolOp(op=op, values=values):
            yield from (source.replaced(value, str(isinstance(op, ast.And))) for value in values)
        case ast.comprehension(ifs=tests):
            yield from (source.replaced(test, "True") for test in tests)


# --- names -------------------------------------------------------------------------------------------------------


def variable_changed(place: Place, source: Source) -> Iterator[Edit]:
    """A local variable that is read becomes the one bound before it; `self.d_v` the attribute bound before it."""
    match place.node:
        case ast.Name(id=name) if is_local_read(place):
            names = locals_of(place)
            other = names[names.index(name) - 1]
            if other != name:
                yield source.replaced(place.node, other)
        case ast.Attribute(value=ast.Name(id="self"), attr=attr, ctx=ast.Load()):
            names = attributes_of_self(place)
            if attr in names and len(names) > 1:
                yield source.replaced(place.node, f"self.{names[names.index(attr) - 1]}")


def state_stale(place: Place, source: Source) -> Iterator[Edit]:
    """What was computed from the state becomes the state that came in."""
    match place.node:
        case ast.Name(id=name) if is_local_read(place) and "state" in parameters(place) and name not in parameters(place):
            yield source.replaced(place.node, "state")
