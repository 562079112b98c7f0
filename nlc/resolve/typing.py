"""Syntax -> typed algebra: every name bound, every shape known, every mismatch reported with both places."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction

from nlc.codes import resolve as codes
from nlc.diagnostics import CompileError
from nlc.ir.algebra import Compare, Expr, Input, Size, State, Tick, add, constant, divide, matmul, power, scale, subtract, times
from nlc.ir.dims import shape_text
from nlc.ir.spec import Binary, Call, Comparison, Duration, Function, Listing, Name, Negate, Number, Syntax
from nlc.resolve.alignment import EyeOfAnySize, ShapeClash, conform, scaled
from nlc.resolve.calls import type_definition, type_function, type_where
from nlc.resolve.functions import FUNCTIONS
from nlc.resolve.reads import applied_level, part_of, plain_reading, type_held, type_previous, type_read, value_of
from nlc.resolve.scope import Scope
from nlc.source import NOWHERE, Span

LARGEST_EXPRESSION = 20_000
ELEMENTWISE: Mapping[str, Callable[[Expr, Expr], Expr]] = {"+": add, "-": subtract, "*": times, "/": divide}
SPECIAL: Mapping[str, Callable[[Typing, Call], Expr]] = {"prev": type_previous, "hold": type_held, "where": type_where}
UNKNOWN_SIZE = "matrix of unknown size"


@dataclass(slots=True)
class Typing:
    """Types expressions under one scope; remembers which names they used and how large they have become."""

    scope: Scope
    counts: Mapping[str, Fraction] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    path: list[str] = field(default_factory=list)
    budget: list[int] = field(default_factory=lambda: [LARGEST_EXPRESSION])

    def expression(self, syntax: Syntax) -> Expr:
        """The typed expression; raises CompileError."""
        typed = self.open_expression(syntax)
        if isinstance(typed, EyeOfAnySize):
            raise CompileError(codes.wrong_shape(syntax.span, "the identity `eye`", UNKNOWN_SIZE, "next to a square matrix"))
        return typed

    def open_expression(self, syntax: Syntax) -> Expr | EyeOfAnySize:
        """The typed expression, which may be the identity of a size still to be settled by its neighbour."""
        self.budget[0] -= 1
        if self.budget[0] < 0:
            raise CompileError(codes.too_large(syntax.span, LARGEST_EXPRESSION))
        match syntax:
            case Number(value):
                return constant(value)
            case Name():
                return self._name(syntax)
            case Negate(operand):
                return scaled(constant(-1), self.open_expression(operand))
            case Binary():
                return self._binary(syntax)
            case Call():
                return self._call(syntax)
            case Comparison():
                raise CompileError(codes.misplaced_comparison(syntax.span))
            case Duration():
                raise CompileError(codes.not_in_time(syntax.span, f"{syntax.unit}s", "durations belong to clocks and to hold(x, n tokens)"))
            case Function() | Listing():
                raise CompileError(codes.wrong_arguments(syntax.span, "this", "a single expression"))

    def condition(self, syntax: Syntax) -> Compare:
        """A comparison, as the condition of `where`."""
        match syntax:
            case Comparison((left, right), ("<" | "<=" | ">" | ">=" as operator,)):
                first, second = conform(operator, (left, self.expression(left)), (right, self.expression(right)))
                return Compare(operator, first, second, first.shape)
        raise CompileError(codes.not_scalar_condition(syntax.span))

    def under(self, scope: Scope) -> Typing:
        """Typing under other bindings, sharing the size limit and the record of used names."""
        return Typing(scope, self.counts, self.used, self.path, self.budget)

    @contextmanager
    def inside(self, name: str, span: Span) -> Iterator[None]:
        """While the text of an abbreviation is typed; raises CompileError when it is already being typed."""
        if name in self.path:
            raise CompileError(codes.abbreviation_circle(span, (*self.path[self.path.index(name) :], name)))
        self.path.append(name)
        yield
        self.path.pop()

    def _name(self, name: Name) -> Expr | EyeOfAnySize:
        text, scope = name.text, self.scope
        self.used.add(text)
        if text in scope.values:
            value = scope.values[text]
            if isinstance(value, Input | State) and value.span == NOWHERE:
                return replace(value, span=name.span)
            return value
        if text in scope.levels:
            return value_of(plain_reading(self, name, scope.levels[text]), name.span)
        if text in scope.lets:
            with self.inside(text, scope.lets[text].span):
                return self.open_expression(scope.lets[text])
        if text in scope.dims:
            return Size(scope.dims[text])
        if text in scope.macros:
            return type_definition(self, scope.macros[text], Call(name, (), (), name.span))
        if text == "eye":
            return EyeOfAnySize()
        if text == "tick" and scope.own is not None:
            return Tick(scope.own)
        if "." in text:
            return part_of(self, name)
        raise CompileError(codes.unknown_name(text, name.span, {*scope.names, *FUNCTIONS}))

    def _binary(self, syntax: Binary) -> Expr | EyeOfAnySize:
        left, right = self.open_expression(syntax.left), self.open_expression(syntax.right)
        if syntax.operator == "@":
            return _product(syntax, left, right)
        if isinstance(left, EyeOfAnySize) or isinstance(right, EyeOfAnySize):
            return _next_to_eye(syntax, left, right)
        return _arithmetic(syntax, left, right)

    def _call(self, call: Call) -> Expr:
        reading = applied_level(self, call.function)
        if reading is not None:
            return type_read(self, reading, call)
        if not isinstance(call.function, Name):
            raise CompileError(codes.not_a_function(call.function.span, "this"))
        name, scope = call.function.text, self.scope
        self.used.add(name)
        if name in SPECIAL:
            return SPECIAL[name](self, call)
        if name in FUNCTIONS:  # before the library: `dot` is also an objective, which takes no arguments
            return type_function(self, name, call)
        if name in scope.macros:
            return type_definition(self, scope.macros[name], call)
        if name in scope.names or name in ("eye", "tick"):
            raise CompileError(codes.not_a_function(call.function.span, f"`{name}`"))
        raise CompileError(codes.unknown_name(name, call.function.span, {*scope.names, *FUNCTIONS}))


def _next_to_eye(syntax: Binary, left: Expr | EyeOfAnySize, right: Expr | EyeOfAnySize) -> Expr | EyeOfAnySize:
    """+, -, * or / where one operand is the identity: a scalar scales it, a matrix settles its size."""
    match syntax.operator, left, right:
        case ("*", EyeOfAnySize(), other) if not isinstance(other, EyeOfAnySize) and other.shape == ():
            return scaled(other, left)
        case ("*", other, EyeOfAnySize()) if not isinstance(other, EyeOfAnySize) and other.shape == ():
            return scaled(other, right)
        case (_, EyeOfAnySize(), EyeOfAnySize()):
            raise CompileError(codes.wrong_shape(syntax.span, "the identity `eye`", UNKNOWN_SIZE, "next to a square matrix"))
        case (_, EyeOfAnySize(), other) if not isinstance(other, EyeOfAnySize):
            return _arithmetic(syntax, left.sized(other.shape, syntax.left.span), other)
        case (_, other, EyeOfAnySize()) if not isinstance(other, EyeOfAnySize):
            return _arithmetic(syntax, other, right.sized(other.shape, syntax.right.span))
    raise AssertionError(syntax)


def _arithmetic(syntax: Binary, left: Expr, right: Expr) -> Expr:
    operator = syntax.operator
    if operator == "**":
        if right.shape != ():
            raise ShapeClash(codes.wrong_shape(syntax.right.span, "an exponent", shape_text(right.shape), "a scalar"))
        return power(left, right)
    if operator == "and":
        raise CompileError(codes.misplaced_comparison(syntax.span))
    if operator == "*" and () in (left.shape, right.shape):
        return times(left, right)
    if operator == "/" and right.shape == ():
        return divide(left, right)
    return ELEMENTWISE[operator](*conform(operator, (syntax.left, left), (syntax.right, right)))


def _product(syntax: Binary, left: Expr | EyeOfAnySize, right: Expr | EyeOfAnySize) -> Expr | EyeOfAnySize:
    if isinstance(left, EyeOfAnySize):
        return scaled(left.by, right)
    if isinstance(right, EyeOfAnySize):
        return scale(right.by, left)
    if len(left.shape) == 2 and len(right.shape) in (1, 2) and left.shape[1] == right.shape[0]:
        return matmul(left, right)
    pairs = ((left.shape[1], right.shape[0]),) if len(left.shape) == 2 and right.shape else ()
    places = (syntax.left.span, shape_text(left.shape)), (syntax.right.span, shape_text(right.shape))
    raise ShapeClash(codes.product_shapes(*places), pairs)
