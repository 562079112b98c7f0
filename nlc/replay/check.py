"""A certificate as JSON -> what is wrong with it: its seal, every equation of its proofs, the numbers of its counterexamples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from operator import eq, ge, gt, le, lt
from random import Random
from types import MappingProxyType
from typing import Any

from nlc.replay.assume import exponents, leaves, satisfying
from nlc.replay.evaluate import EXACT, MODULAR, Node, Unsupported, Values, evaluate, leaf_key, sizes_of
from nlc.replay.numbers import PRIME, Remainder, Unlucky
from nlc.replay.order import holds
from nlc.replay.shapes import is_convex, is_nonnegative, is_positive

SCHEMA = "nlc-certificate-1"
OPEN = ("environment", "measured", "seal")
"""The parts of a certificate that differ from machine to machine, which are not sealed."""

NO_PLACE = "no place was found at which the proof can be looked at"

LARGEST_COUNT = 100
"""What stands in an exponent is drawn as a whole number below it: only of those are powers known."""

PLACES = 3
TRIES = 40
PARTS: Mapping[str, str] = MappingProxyType(
    {
        "the part of floor": "nonnegative",
        "the part of ceil": "nonnegative",
        "the rest of floor": "positive",
        "the rest of ceil": "positive",
    }
)
"""What is known of what rounding cuts off, and of what that lacks to 1."""

SIGNS: Mapping[str, Callable[[Any, Any], bool]] = MappingProxyType({"<": lt, "<=": le, ">": gt, ">=": ge})
"""How the sides of a conclusion are claimed to compare, when not as equal: the last word of its rule."""

CERTAIN = ("proved", "proved-if")


def seal_of(certificate: Mapping[str, Any]) -> str:
    """The digest of everything that does not depend on the machine."""
    sealed = {key: value for key, value in certificate.items() if key not in OPEN}
    return hashlib.sha256(json.dumps(sealed, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def problems(certificate: Mapping[str, Any]) -> Iterator[str]:
    """Everything that is wrong, in words; nothing when the certificate holds."""
    if certificate.get("schema") != SCHEMA:
        yield f"this is no certificate of the schema {SCHEMA}"
        return
    if certificate.get("seal") != seal_of(certificate):
        yield "the seal does not match: the certificate was changed"
    for claim in certificate["claims"]:
        try:
            yield from (f"{claim['id'] or claim['says']}: {problem}" for problem in _claim_problems(claim))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            yield f"{claim.get('id') or claim.get('says')}: its evidence cannot be read ({type(error).__name__}: {error})"


def replayed(claim: Mapping[str, Any]) -> bool:
    """Whether a claim has evidence that this checker looks at."""
    return bool(claim["proof"]["shows"])


def _claim_problems(claim: Mapping[str, Any]) -> Iterator[str]:
    proof = claim["proof"]
    is_told = bool(proof.get("not_replayed"))
    if claim["verdict"] in CERTAIN and not proof["shows"] and not is_told and any(step["kind"] == "conclusion" for step in proof["steps"]):
        yield "it is called proved, and nothing is shown"
    match proof["shows"]:
        case "equality":
            found = look(proof["steps"])
            if found.problem or found.obstacle:
                yield found.problem or found.obstacle
            elif found.places != proof["places"]:
                yield f"it holds at {found.places} places, where it says {proof['places']}"
        case "difference":
            yield from _counterexample_problems(proof)
        case "order" if holds(proof["order"]) != (claim["verdict"] == "proved"):
            yield "the clocks and reads do not order the levels so"


# --- proofs ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at a proof found: at how many places every equation of it was computed, what is wrong, or why there was no place."""

    places: int
    problem: str = ""
    obstacle: str = ""


def look(steps: Sequence[Mapping[str, Any]]) -> Look:
    """Look at every equation of a proof, modulo the prime, at random values of everything that it does not define, and at several sizes."""
    if wrong := _misshapen(steps):
        return Look(0, wrong)
    dims = sorted({name for step in steps for side in _sides(step) for name in _dims(side)})
    generator, places = Random(0), 0
    reason = "there are none"
    for sizes in _sizes(dims):
        for _ in range(TRIES):
            try:
                wrong = _wrong_step(steps, sizes, generator)
            except (Unlucky, Unsupported) as error:
                reason = str(error)
                continue
            places += 1
            if wrong:
                return Look(places, wrong)
            break
        if places >= PLACES:
            break
    return Look(places, obstacle="" if places else f"{NO_PLACE}: {reason}")


def _misshapen(steps: Sequence[Mapping[str, Any]]) -> str:
    """What is wrong with a proof before any number is drawn: it concludes nothing, or no rule shows a sign or a convexity that it names."""
    if not any(step["kind"] == "conclusion" for step in steps):
        return "the proof concludes nothing"
    facts = _facts(steps)
    for number, step in enumerate(steps, start=1):
        match step["kind"]:
            case "convex" if not is_convex(step["left"], step["right"], facts):
                return f"step {number}: no rule shows that this is convex"
            case "positive" if not is_positive(step["left"], facts):
                return f"step {number}: no rule shows that this is above 0"
            case "nonnegative" if not is_nonnegative(step["left"], facts):
                return f"step {number}: no rule shows that this is 0 or more"
    return ""


def _facts(steps: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The signs of leaves: of those with a declared or assumed bound, and of what rounding cuts off."""
    facts: dict[str, str] = {}
    for step in steps:
        if step["kind"] in ("positive bound", "nonnegative bound"):
            facts[leaf_key(step["left"])] = step["kind"].split()[0]
        if step["kind"] == "part" and step["rule"] in PARTS:
            facts[leaf_key(step["left"])] = PARTS[step["rule"]]
    return facts


def _sizes(dims: list[str]) -> Iterator[dict[str, int]]:
    choices = sorted(product((1, 2, 3), repeat=len(dims)), key=lambda sizes: (max(sizes, default=0) != 2, len(set(sizes)) == 1, sizes))
    for sizes in choices[:6]:
        yield dict(zip(dims, sizes, strict=True))


def _sides(step: Mapping[str, Any]) -> Iterator[Node]:
    yield from (step[word] for word in ("left", "right") if step.get(word) is not None)


def _dims(node: Node) -> Iterator[str]:
    for dim in (*node["shape"], *([node["dim"]] if "dim" in node else [])):
        for _, names in dim:
            yield from (name for name, _ in names)
    for operand in node["operands"]:
        yield from _dims(operand)


def _wrong_step(steps: Sequence[Mapping[str, Any]], sizes: Mapping[str, int], generator: Random) -> str:
    """Which step does not hold at some random values; empty when all do."""
    values = _drawn(steps, sizes, generator)
    for number, step in enumerate(steps, start=1):
        match step["kind"]:
            case "definition":
                values = {**values, leaf_key(step["left"]): evaluate(step["right"], values, sizes, MODULAR)}
            case "part":
                values = {**values, leaf_key(step["left"]): (_part(step, values, sizes),)}
            case "equality" | "conclusion":
                left, right = (evaluate(side, values, sizes, MODULAR) for side in _sides(step))
                if left != right:
                    return f"step {number} does not hold: {step['text'][0]} = {step['text'][1]}"
    return ""


def _part(step: Mapping[str, Any], values: Values, sizes: Mapping[str, int]) -> Remainder:
    """What rounding cuts off, or what that lacks to 1, of a number: as the step's rule says."""
    (exact,) = evaluate(step["right"], values, sizes, MODULAR)
    which, _, function = step["rule"].rpartition(" of ")
    cut = MODULAR.function(function, exact)
    part: Remainder = exact - cut if function == "floor" else cut - exact
    return Remainder(1) - part if which == "the rest" else part


def _drawn(steps: Sequence[Mapping[str, Any]], sizes: Mapping[str, int], generator: Random) -> Values:
    """Values for every leaf that no step defines, such that what is assumed holds."""
    defined = {leaf_key(step["left"]) for step in steps if step["kind"] in ("definition", "part")}
    counted = _counted(steps)
    values: dict[str, tuple[Any, ...]] = {}
    for node in (leaf for step in steps for side in _sides(step) for leaf in leaves(side)):
        if leaf_key(node) not in values and leaf_key(node) not in defined:
            count = len(_places(sizes_of(node, sizes)))
            limit = LARGEST_COUNT if leaf_key(node) in counted else PRIME
            values[leaf_key(node)] = tuple(Remainder(generator.randrange(1, limit)) for _ in range(count))
    assumed = [(step["left"], step["right"]) for step in steps if step["kind"] == "assumption"]
    return satisfying(assumed, set(values), values, sizes, generator) if assumed else values


def _counted(steps: Sequence[Mapping[str, Any]]) -> set[str]:
    """The leaves that stand in exponents, also by way of what is defined by them."""
    counted = {leaf_key(leaf) for step in steps for side in _sides(step) for leaf in exponents(side)}
    for step in reversed(steps):
        if step["kind"] == "definition" and leaf_key(step["left"]) in counted:
            counted |= {leaf_key(leaf) for leaf in leaves(step["right"])}
    return counted


def _places(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    return list(product(*map(range, shape)))


# --- counterexamples ---------------------------------------------------------------------------------------------


def _counterexample_problems(proof: Mapping[str, Any]) -> Iterator[str]:
    """The two sides are computed again in exact fractions: they must differ, and be what is written."""
    found = proof["counterexample"]
    sizes = found["dims"]
    values: Values = {leaf_key(item["leaf"]): tuple(Fraction(entry) for entry in item["entries"]) for item in found["values"]}
    try:
        for step in proof["steps"]:
            if step["kind"] == "definition":
                values = {**values, leaf_key(step["left"]): evaluate(step["right"], values, sizes, EXACT)}
            if step["kind"] == "assumption" and _exact(step["left"], values, sizes) != _exact(step["right"], values, sizes):
                yield "the counterexample does not satisfy what is assumed"
            if step["kind"].endswith(" bound") and not _is_within(step, values, sizes):
                yield "the counterexample is not within what is given"
        conclusion = next((step for step in proof["steps"] if step["kind"] == "conclusion"), None)
        if conclusion is None:
            yield "the counterexample is to nothing"
            return
        left, right = (_exact(side, values, sizes) for side in _sides(conclusion))
    except (Unlucky, Unsupported, ZeroDivisionError) as error:
        yield f"the counterexample cannot be computed: {error}"
        return
    sign = conclusion["rule"].rpartition(" ")[2]
    compare = SIGNS[sign] if sign in SIGNS else eq
    if all(compare(first, second) for first, second in zip(left, right, strict=True)):
        yield "at the counterexample the claim holds"


def _is_within(step: Mapping[str, Any], values: Values, sizes: Mapping[str, int]) -> bool:
    is_strict = step["kind"].startswith("positive")
    return all(entry > 0 if is_strict else entry >= 0 for entry in _exact(step["left"], values, sizes))


def _exact(node: Node, values: Values, sizes: Mapping[str, int]) -> tuple[Any, ...]:
    return evaluate(node, values, sizes, EXACT)
