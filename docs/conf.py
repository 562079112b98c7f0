"""Sphinx: the pages are plain CommonMark (MyST reads them), the theme is furo."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nlc.version import VERSION

project = "nlc"
author = "the nlc authors"
copyright = "the nlc authors"
version = release = VERSION
extensions = ["myst_parser", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"nlc {VERSION}"
exclude_patterns = ["_build"]
