"""Decide in Python, print in templates: a template sees one frozen view, and its holes are the view's fields."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

import pytest
from jinja2 import Environment, meta, nodes

from nlc.emit.views import TEMPLATES
from tests.architecture.modules import ROOT

LINES = 80
ALLOWED = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Getattr, nodes.For, nodes.If, nodes.Not, nodes.Tuple,
)  # fmt: skip

FILES = {path.name: path for path in (ROOT / "nlc" / "emit").rglob("*.j2")}


def parsed(text: str) -> nodes.Template:
    return Environment().parse(text)


def logic(template: nodes.Template) -> list[str]:
    """Whatever a template does besides printing fields, and repeating or leaving out by them."""
    return [f"line {node.lineno}: {type(node).__name__}" for node in template.find_all(nodes.Node) if not isinstance(node, ALLOWED)]


def test_every_template_has_a_view() -> None:
    assert set(TEMPLATES) == set(FILES)


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_holes_are_the_fields_of_the_view(name: str) -> None:
    view = TEMPLATES[name]
    assert is_dataclass(view)
    assert view.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert meta.find_undeclared_variables(parsed(FILES[name].read_text())) == {field.name for field in fields(view)}


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_templates_are_thin(name: str) -> None:
    text = FILES[name].read_text()
    assert len(text.splitlines()) <= LINES
    assert logic(parsed(text)) == []


@pytest.mark.parametrize("text", ["{{ name | upper }}", "{% set x = 1 %}", "{{ f(x) }}", "{% if a == 1 %}{% endif %}", "{{ a + b }}"])
def test_logic_is_noticed(text: str) -> None:
    assert logic(parsed(text))
