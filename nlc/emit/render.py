"""Views -> text, through the template of each view."""

from __future__ import annotations

from dataclasses import fields
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from nlc.emit.views import TEMPLATES


def render(view: object) -> str:
    """The text of a view, without the newline at its end."""
    name = next(name for name, kind in TEMPLATES.items() if isinstance(view, kind))
    values = {field.name: getattr(view, field.name) for field in fields(TEMPLATES[name])}
    return _environment().get_template(name).render(values).rstrip("\n")


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("nlc.emit"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
