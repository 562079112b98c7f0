"""Where the files that come with nlc are: its library, and the specs that any spec may name."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
LIBRARY_FOLDER = PACKAGE / "library"
SHIPPED_NAME = "specs"
"""What the shipped folder is called in diagnostics, wherever it is."""


def shipped_specs_folder() -> Path:
    """The folder of the shipped specs: inside the package when it was installed from a wheel, beside it in a checkout."""
    installed = PACKAGE / "specs"
    return installed if installed.is_dir() else PACKAGE.parent / "specs"
