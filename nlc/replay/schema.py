"""The published JSON Schema of certificates (draft 2020-12), a file of the package."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def certificate_schema() -> dict[str, Any]:
    """The schema that every certificate is valid under."""
    found: dict[str, Any] = json.loads(files("nlc.replay").joinpath("certificate.schema.json").read_text(encoding="utf-8"))
    return found
