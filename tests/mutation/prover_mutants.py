"""Seeded mistakes of the prover, kind by kind: in normal forms, products, quotients, inverses, assumptions, stacks, signs and induction."""

from __future__ import annotations

from tests.mutation.prover import ProverMutant

MUTANTS = (
    # --- normal forms
    ProverMutant(
        "normal_form",
        "return multiply(parts[0], transpose(parts[1]))",
        "return multiply(parts[1], transpose(parts[0]))",
        "outer products turned",
    ),
    ProverMutant(
        "normal_form",
        "            return transpose(parts[0])\n        case Outer",
        "            return parts[0]\n        case Outer",
        "transposition forgotten",
    ),
    ProverMutant("normal_form", "return root(dot(parts[0], parts[0]))", "return dot(parts[0], parts[0])", "norms squared"),
    ProverMutant(
        "normal_form",
        "return multiply(parts[0], parts[1])\n        case Transpose",
        "return multiply(parts[1], parts[0])\n        case Transpose",
        "matrices commute",
    ),
    ProverMutant("normal_form", "return add(parts[2], gated)", "return gated", "the other branch lost"),
    ProverMutant(
        "normal_form",
        "power(base if exponent >= 0 else reciprocal(base), abs(int(exponent)))",
        "power(base, abs(int(exponent)))",
        "negative powers positive",
    ),
    ProverMutant("normal_form", "times_number(SYMMETRY[function], _letter(", "times_number(1, _letter(", "odd functions even"),
    ProverMutant("normal_form", "along = transpose(x) if axis == 0 else x", "along = x", "sums along the other dim"),
    ProverMutant("normal_form", "[subtract(parts[1], parts[0])])", "[subtract(parts[0], parts[1])])", "comparisons turned"),
    # --- polynomials and products
    ProverMutant(
        "polynomial", "return add(left, times_number(-1, right))", "return add(left, times_number(1, right))", "differences are sums"
    ),
    ProverMutant("polynomial", "flip_word(word)): coefficient for (factors", "word): coefficient for (factors", "words not flipped"),
    ProverMutant("polynomial", "total = terms.get(monomial, 0) + coefficient", "total = coefficient", "like terms overwritten"),
    ProverMutant("products", "coefficient = left_coefficient * right_coefficient", "coefficient = left_coefficient", "a coefficient lost"),
    ProverMutant(
        "products", "exponents[letter] = exponents.get(letter, 0) + exponent", "exponents[letter] = exponent", "powers overwritten"
    ),
    ProverMutant(
        "products",
        "return normal_word(first + second) if first",
        "return normal_word(second + first) if first",
        "words joined the other way",
    ),
    ProverMutant("products", "scale(power(letter.meaning.square, exponent // 2), part)", "part", "squares of roots are one"),
    # --- quotients
    ProverMutant(
        "quotients",
        "missing = highest - exponents.pop(letter, 0)",
        "missing = exponents.pop(letter, 0)",
        "denominators put back where they were",
    ),
    ProverMutant("quotients", "return tuple((letter, -exponent) for letter, exponent in factors)", "return factors", "one over x is x"),
    ProverMutant("quotients", "elements(word, -1, x.columns)", "elements(word, 1, x.columns)", "one over a vector is the vector"),
    ProverMutant(
        "quotients", "times_number(Fraction(top, bottom), all_ones", "times_number(Fraction(bottom, top), all_ones", "roots turned over"
    ),
    # --- inverses
    ProverMutant(
        "inverses",
        "return subtract(without, scale(reciprocal(",
        "return add(without, scale(reciprocal(",
        "Sherman and Morrison with a plus",
    ),
    ProverMutant("inverses", "add(number(1), dot(identity(x.rows), moved))", "dot(identity(x.rows), moved)", "one plus forgotten"),
    ProverMutant(
        "inverses",
        "Rule((*longest, letter), scale(below, subtract(identity(of.rows), multiply(others, itself))))",
        "Rule((*longest, letter), scale(below, identity(of.rows)))",
        "the others of a sum lost",
    ),
    ProverMutant("inverses", "return scale(below, letter)", "return letter", "the factor of an inverse lost"),
    # --- what is assumed, stacks
    ProverMutant(
        "assumptions", "value = times_number(1 / difference.terms[monomial], rest)", "value = rest", "an equation's coefficient lost"
    ),
    ProverMutant(
        "assumptions",
        "rest = subtract(single(difference, monomial), difference)",
        "rest = subtract(difference, single(difference, monomial))",
        "an equation's sign lost",
    ),
    ProverMutant(
        "stacks",
        "yield Rule((flip(first), second), times_number(0, product))",
        "yield Rule((flip(first), second), product)",
        "new rows not apart from old ones",
    ),
    ProverMutant(
        "stacks",
        "yield Rule((flip(first), second), identity(first.columns))",
        "yield Rule((flip(first), second), times_number(2, identity(first.columns)))",
        "an embedding that doubles",
    ),
    # --- signs
    ProverMutant("signs", "exponent.denominator == 1 and exponent % 2 == 0", "exponent.denominator == 1", "odd powers are never below 0"),
    ProverMutant("signs", "            coefficient > 0\n            and all(", "            all(", "terms with a minus are never below 0"),
    ProverMutant("signs", "has_identity = has_identity or not word", "has_identity = True", "A^T A is invertible"),
    # --- induction over two systems
    ProverMutant("relations", "return clear_denominators(gap).is_zero", "return True", "every relation is preserved"),
    ProverMutant("twins", "found[leaf] = evaluate(expression, now)", "found[leaf] = evaluate(leaf, now)", "bindings forgotten"),
    ProverMutant(
        "twins",
        "return {leaf: values[after(leaf)] for leaf in states(laws)}",
        "return {leaf: values[leaf] for leaf in states(laws)}",
        "states not carried on",
    ),
    ProverMutant(
        "same_as",
        "if not all(clear_denominators(subtract(left[name], right[name])).is_zero for name in left):",
        "if not left:",
        "what is shown is not compared",
    ),
    # --- equalities
    ProverMutant(
        "proofs",
        "residual = settled_difference(subtract(first, second), rules)",
        "residual = settled_difference(subtract(first, first), rules)",
        "a side compared with itself",
    ),
    ProverMutant("proofs", "if (key in first_needs) != (key in second_needs)", "if False", "conditions forgotten"),
    ProverMutant("given", "known[leaf] = normal_form(value, known)", "known[leaf] = normal_form(leaf, known)", "what is given forgotten"),
)

SURVIVORS = (
    (
        ProverMutant("relations", "ratio is not None and both_start_alike and (", "ratio is not None and (", "weights may start from zero"),
        "a guard that nothing reaches: weights start from anything, so that after the first ticks no state that starts from zero is a "
        "constant times them",
    ),
)
"""Mutants that no claim can tell from the prover, with the reason."""
