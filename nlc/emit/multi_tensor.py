"""An expression over lists of tensors -> calls of torch's multi-tensor functions (`torch._foreach_...`), in place where that is safe.

A value is a list that somebody else has (it must stay as it is) or a list of its own, which further operations overwrite. Factors have
to be Python numbers; what these functions cannot do gives None, and the caller writes a comprehension.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from nlc.emit.layout import Lines
from nlc.emit.names import LocalNames
from nlc.emit.pieces import WEIGHTS
from nlc.emit.torch_printer import TorchPrinter
from nlc.ir.algebra import ONE, Add, Constant, Divide, Expr, Extremum, Full, Map, Named, Power, Scale, Spread, State, Times, contains
from nlc.ir.build import add, divide, negate, scale

MAPS = frozenset({"sqrt", "abs", "exp", "log", "sign", "tanh", "sigmoid", "sin", "cos", "sinh", "cosh"})
"""The elementwise functions that torch has for lists of tensors, under their own names."""

EXTREMA: Mapping[str, str] = MappingProxyType({"maximum": "clamp_min", "minimum": "clamp_max"})
"""What torch calls `maximum` and `minimum` with a number."""

Made = tuple[tuple[str, ...], str, bool]
"""Lines, then the variable with the list, and whether the list is the update's own."""


@dataclass(frozen=True, slots=True)
class MultiTensor:
    """Writes calls; `lists` says which variable a value is in, `printer` writes numbers."""

    names: LocalNames
    lists: Mapping[Expr, str]
    printer: TorchPrinter

    def moved(self, variable: str, value: Expr, old: Expr) -> Lines | None:
        """The lines that turn the list `variable`, now `old`, into `value` = number * old + number * x + ...; None for another form."""
        if (towards := self._towards(value, old)) is not None:
            return (f"torch._foreach_lerp_({variable}, {towards[0]}, {towards[1]})",)
        terms = terms_of(value)
        kept = terms.pop(old, None)
        number = None if kept is None else self.number(kept)
        if number is None or any(contains(core, lambda part: part == old) for core in terms):
            return None
        before: list[str] = []
        added: list[str] = []
        for core, coefficient in terms.items():
            line = self._added(variable, core, coefficient, before)
            if line is None:
                return None
            added.append(line)
        scaled = () if kept == ONE else (f"torch._foreach_mul_({variable}, {number})",)
        return (*before, *scaled, *added)

    def list_of(self, value: Expr, word: str) -> Made | None:
        """A value as a list; a list of its own is called by the word."""
        if value in self.lists:
            return (), self.lists[value], False
        match value:
            case Scale(by, x):
                return self._with_number(x, word, "mul", by)
            case Divide(x, by) if by.shape == () or isinstance(by, Spread):
                return self._with_number(x, word, "div", by.x if isinstance(by, Spread) else by)
            case Divide(x, by):
                return self._with_list(x, by, word, "div")
            case Times(left, right):
                return self._with_list(left, right, word, "mul")
            case Power(x, exponent):
                return self._power(x, exponent, word)
            case Map(function, x) if function in MAPS:
                return self._mapped(x, word, function)
            case Extremum(function, x, Spread(bound)):
                return self._with_number(x, word, EXTREMA[function], bound)
            case Add(terms):
                return self._sum(terms, word)
        return None

    def number(self, value: Expr) -> str | None:
        """The text of a factor; None when it is not known before the tensors are."""
        return self.printer.number(value)

    # --- one call ----------------------------------------------------------------------------------------------------

    def _called(self, made: Made, word: str, function: str, argument: str = "") -> Made:
        """A function of a list: in place when the list is the update's own."""
        lines, variable, is_own = made
        rest = f", {argument}" if argument else ""
        if is_own:
            return (*lines, f"torch._foreach_{function}_({variable}{rest})"), variable, True
        local = self.names.new(word)
        return (*lines, f"{local} = torch._foreach_{function}({variable}{rest})"), local, True

    def _with_number(self, x: Expr, word: str, function: str, by: Expr) -> Made | None:
        number, made = self.number(by), self.list_of(x, word)
        return None if number is None or made is None else self._called(made, word, function, number)

    def _with_list(self, left: Expr, right: Expr, word: str, function: str) -> Made | None:
        other = self.list_of(right, "denominator" if function == "div" else "factor")
        made = None if other is None else self.list_of(left, word)
        if made is None or other is None:
            return None
        lines, variable, is_own = made
        if function == "mul" and other[2] and not is_own:
            return self._called(((*lines, *other[0]), other[1], True), word, function, variable)
        return self._called(((*other[0], *lines), variable, is_own), word, function, other[1])

    def _mapped(self, x: Expr, word: str, function: str) -> Made | None:
        made = self.list_of(x, word)
        return None if made is None else self._called(made, word, function)

    def _power(self, x: Expr, exponent: Expr, word: str) -> Made | None:
        made, number = self.list_of(x, word), self.number(exponent)
        if made is None or number is None:
            return None
        return self._called(made, word, "mul", made[1]) if number == "2" else self._called(made, word, "pow", number)

    def _sum(self, terms: tuple[Expr, ...], word: str) -> Made | None:
        """The first term, made a list of its own, plus the others."""
        first = next((term for term in terms if self._number_of(term) is None), None)
        made = None if first is None else self.list_of(first, word)
        for term in () if made is None else (term for term in terms if term is not first):
            made = self._plus(made, term, word)
            if made is None:
                return None
        return made

    def _plus(self, made: Made | None, term: Expr, word: str) -> Made | None:
        if made is None:
            return None
        number = self._number_of(term)
        if number is not None:
            return self._called(made, word, "add", number)
        coefficient, core = _factored(term)
        factor, other = self.number(coefficient), self.list_of(core, "term")
        if factor is None or other is None:
            return None
        lines, variable, is_own = made
        weight = "" if coefficient == ONE else f", alpha={factor}"
        return self._called(((*lines, *other[0]), variable, is_own), word, "add", f"{other[1]}{weight}")

    def _number_of(self, term: Expr) -> str | None:
        """The number that a term is in every entry."""
        match term:
            case Full(value):
                return self.number(Constant(value))
            case Spread(x, None):
                return self.number(x)
        return None

    def _added(self, variable: str, core: Expr, coefficient: Expr, before: list[str]) -> str | None:
        """The call that adds coefficient * core to a list; lines that make what it needs join those `before`."""
        match core:
            case Full(value):
                number = self.number(scale(coefficient, Constant(value)))
                return None if number is None else f"torch._foreach_add_({variable}, {number})"
            case Divide(x, by) if by.shape == WEIGHTS:
                pair, function = (self._pulled(x), (ONE, by)), "addcdiv"
            case Times(left, right):
                pair, function = ((ONE, left), (ONE, right)), "addcmul"
            case Power(x, Constant(value)) if value == 2:
                pair, function = ((ONE, x), (ONE, x)), "addcmul"
            case _:
                number, made = self.number(coefficient), self.list_of(core, "change")
                if number is None or made is None:
                    return None
                before.extend(made[0])
                return f"torch._foreach_add_({variable}, {made[1]}{'' if coefficient == ONE else f', alpha={number}'})"
        return self._added_pair(variable, coefficient, pair, function, before)

    def _added_pair(
        self, variable: str, coefficient: Expr, pair: tuple[tuple[Expr, Expr], tuple[Expr, Expr]], function: str, before: list[str]
    ) -> str | None:
        (factor, left), (_, right) = pair
        number = self.number(_product(coefficient, factor))
        words = ("numerator", "denominator") if function == "addcdiv" else ("factor", "factor")
        first, second = self.list_of(left, words[0]), self.list_of(right, words[1])
        if number is None or first is None or second is None:
            return None
        before.extend((*first[0], *(second[0] if right != left else ())))
        other = first[1] if right == left else second[1]
        return f"torch._foreach_{function}_({variable}, {first[1]}, {other}{'' if number == '1' else f', value={number}'})"

    def _pulled(self, x: Expr) -> tuple[Expr, Expr]:
        """A numerator as a number times a list."""
        match x:
            case Scale(by, inner) if self.number(by) is not None:
                factor, core = self._pulled(inner)
                return scale(by, factor), core
            case Divide(inner, by) if by.shape == () and self.number(by) is not None:
                factor, core = self._pulled(inner)
                return divide(factor, by), core
        return ONE, x

    def _towards(self, value: Expr, old: Expr) -> tuple[str, str] | None:
        """(list, rate) of old - rate * (old - list): a step towards the list, which torch takes between tensors of one dtype only."""
        match value:
            case Add((first, Scale(Constant(sign), Scale(rate, Add((same, Scale(Constant(minus), target))))))) if (
                first == same == old and sign == minus == -1 and target in self.lists and target != old
            ) and _is_of_weights(target) == _is_of_weights(old):
                number = self.number(rate)
                return None if number is None else (self.lists[target], number)
        return None


def _is_of_weights(node: Expr) -> bool:
    """Whether a list has the dtype of the parameters, which may be narrower than the state beside them."""
    match node:
        case State(component="weights") | Named(name="weights"):
            return True
    return False


def _product(coefficient: Expr, factor: Expr) -> Expr:
    match factor:
        case Divide(over, by):
            return divide(scale(coefficient, over), by)
    return scale(coefficient, factor)


def _factored(term: Expr) -> tuple[Expr, Expr]:
    """All scalar factors of a term, multiplied, and what is left."""
    match term:
        case Scale(by, x):
            coefficient, core = _factored(x)
            return scale(by, coefficient), core
    return ONE, term


def terms_of(value: Expr) -> dict[Expr, Expr]:
    """The cores of a sum and their coefficients; scalars are multiplied out, like cores are added up."""
    found: dict[Expr, Expr] = {}
    for term in value.terms if isinstance(value, Add) else (value,):
        coefficient, core = _factored(term)
        parts = {core: ONE} if not isinstance(core, Add) else terms_of(core)
        for part, factor in parts.items():
            share = scale(coefficient, factor)
            if isinstance(share, Scale) and share.by == Constant(-ONE.value) and isinstance(share.x, Add):
                share = add(*(negate(item) for item in share.x.terms))
            found[part] = add(found[part], share) if part in found else share
    return found
