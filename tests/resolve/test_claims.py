"""Claims: typed sides, ill-typed ones with what they are when dims are identified, side conditions, other specs."""

from __future__ import annotations

import pytest

from nlc.diagnostics import CompileError
from nlc.ir.model import Claim, EqualityClaim, IllTyped, OrderClaim, SameAsClaim
from nlc.ir.show import expression_text
from nlc.parse import parse_text
from nlc.resolve import resolve_model
from tests.resolve.specs import spec_text


def claim(text: str, **changes: str) -> Claim:
    lines = "".join(f"    {line}\n" for line in text.splitlines())
    spec = spec_text(**changes) + "claims:\n  - says: so\n" + lines
    return resolve_model(parse_text(spec, "small.yaml", None)).claims[0]


def test_an_equation() -> None:
    found = claim("prove: memory == prev(memory) - beta * outer(prev(memory)(k) - v, k)")
    assert isinstance(found, EqualityClaim) and isinstance(found.sides, tuple)
    assert expression_text(found.sides[1]) == "prev(memory) - beta * outer(prev(memory) @ k - v, k)"
    assert found.expect == "proved"


def test_an_ill_typed_equation_keeps_its_reason_and_its_identified_form() -> None:
    found = claim("prove: memory == (eye - beta * outer(k, k)) @ prev(memory)\nexpect: ill-typed")
    assert isinstance(found, EqualityClaim) and isinstance(found.sides, IllTyped)
    assert found.sides.diagnostic.code == "NLC203"
    assert found.sides.dims == ("d_k", "d_v")
    assert found.sides.identified is not None
    assert {str(dim) for side in found.sides.identified for dim in side.shape} == {"d_k"}


def test_an_ill_typed_equation_of_different_ranks_has_no_identified_form() -> None:
    found = claim("prove: memory == k")
    assert isinstance(found, EqualityClaim) and isinstance(found.sides, IllTyped)


def test_conditions() -> None:
    found = claim("prove: memory == prev(memory)\ngiven: beta == 0 and prev(memory) == 0")
    assert isinstance(found, EqualityClaim)
    assert [(expression_text(left), expression_text(right)) for left, right in found.given] == [("beta", "0"), ("prev(memory)", "0")]


def test_orders_name_inlined_levels() -> None:
    found = claim("order: memory.momentum > memory", optimizer="momentum(beta)")
    assert isinstance(found, OrderClaim)
    assert (found.names, found.relations) == (("memory.momentum", "memory"), (">",))


def test_another_spec() -> None:
    found = claim("same_as: architectures/delta_rule\nwhere: {beta: 2 * beta}")
    assert isinstance(found, SameAsClaim)
    assert found.other.name == "DeltaRule"
    assert [(name, expression_text(value)) for name, value in found.bindings] == [("beta", "2 * beta")]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("prove: memory", "NLC228"),
        ("prove: memory == prev(memory) == 0", "NLC228"),
        ("prove: memory == prev(memory)\ngiven: beta != 0", "NLC227"),
        ("prove: memory == prev(memory)\ngiven: memory == 0", "NLC227"),
        ("prove: memory == prev(nothing)", "NLC201"),
        ("order: memory > nothing", "NLC214"),
        ("order: memory", "NLC233"),
        ("same_as: architectures/delta_rule\nwhere: {gamma: beta}", "NLC238"),
        ("same_as: architectures/delta_rule\nvarying: [beta]", "NLC238"),
    ],
)
def test_what_is_refused(text: str, code: str) -> None:
    with pytest.raises(CompileError) as caught:
        claim(text)
    assert caught.value.diagnostics[0].code == code
