"""Signs and convexity of a certificate's expressions, by rules of composition."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from nlc.replay.evaluate import Node, leaf_key

Facts = Mapping[str, str]
"""Leaves that are known to be `positive` or `nonnegative`."""

POSITIVE = ("exp", "sigmoid", "cosh", "softplus", "normal_cdf", "normal_density")


def is_positive(node: Node, facts: Facts) -> bool:
    """Whether every entry is above 0; hyperparameters are, by what the language says."""
    operands = node["operands"]
    match node["kind"]:
        case "Constant" | "Full":
            return Fraction(node["value"]) > 0
        case "Hyperparameter" | "Size":
            return True
        case "Map":
            return node["function"] in POSITIVE
        case "Add":
            return is_nonnegative(node, facts) and any(is_positive(operand, facts) for operand in operands)
        case "Scale" | "Times" | "Divide" | "Dot":
            return all(is_positive(operand, facts) for operand in operands)
        case "Power":
            return is_positive(operands[0], facts)
        case "Sum" | "Spread":
            return is_positive(operands[0], facts)
    return facts.get(leaf_key(node)) == "positive"


def is_nonnegative(node: Node, facts: Facts) -> bool:
    """Whether every entry is 0 or more."""
    operands = node["operands"]
    match node["kind"]:
        case "Constant" | "Full":
            return Fraction(node["value"]) >= 0
        case "Norm":
            return True
        case "Dot" if operands[0] == operands[1]:
            return True
        case "Power" if Fraction(operands[1].get("value", "1/2")) % 2 == 0:
            return True
        case "Map" if node["function"] in ("abs", "relu", "sqrt"):
            return True
        case "Add":
            return all(is_nonnegative(operand, facts) for operand in operands)
        case "Scale" | "Times" | "Divide" | "Dot":
            return all(is_nonnegative(operand, facts) for operand in operands)
        case "Sum" | "Spread":
            return is_nonnegative(operands[0], facts)
    return facts.get(leaf_key(node)) == "nonnegative" or is_positive(node, facts)


def is_convex(node: Node, leaf: Node, facts: Facts) -> bool:
    """Whether the expression is convex in the leaf."""
    if is_affine(node, leaf):
        return True
    operands = node["operands"]
    match node["kind"]:
        case "Add":
            return all(is_convex(operand, leaf, facts) for operand in operands)
        case "Scale" | "Times" | "Divide":
            fixed = [operand for operand in operands if not _varies(operand, leaf)]
            moving = [operand for operand in operands if _varies(operand, leaf)]
            is_over_fixed = node["kind"] != "Divide" or not _varies(operands[1], leaf)
            if not is_over_fixed or len(moving) != 1:
                return False
            return all(is_nonnegative(operand, facts) for operand in fixed) and is_convex(moving[0], leaf, facts)
        case "Dot" if operands[0] == operands[1]:
            return is_affine(operands[0], leaf)
        case "Norm":
            return is_affine(operands[0], leaf)
        case "Power" if Fraction(operands[1].get("value", "1/2")) % 2 == 0 and Fraction(operands[1]["value"]) > 0:
            return is_affine(operands[0], leaf)
        case "Map" if node["function"] in ("exp", "abs", "relu", "softplus", "cosh"):
            return is_affine(operands[0], leaf)
        case "Sum" | "Spread":
            return is_convex(operands[0], leaf, facts)
    return False


def is_affine(node: Node, leaf: Node) -> bool:
    """Whether the expression is a constant and something linear in the leaf."""
    operands = node["operands"]
    if not _varies(node, leaf) or not operands:
        return True
    match node["kind"]:
        case "Add" | "Transpose" | "Sum" | "Spread":
            return all(is_affine(operand, leaf) for operand in operands)
        case "Scale" | "Times" | "MatMul" | "Outer" | "Dot":
            moving = [operand for operand in operands if _varies(operand, leaf)]
            return len(moving) == 1 and is_affine(moving[0], leaf)
        case "Divide":
            return not _varies(operands[1], leaf) and is_affine(operands[0], leaf)
    return False


def _varies(node: Node, leaf: Node) -> bool:
    if not node["operands"]:
        return leaf_key(node) == leaf_key(leaf) and node["kind"] == leaf["kind"]
    return any(_varies(operand, leaf) for operand in node["operands"])
