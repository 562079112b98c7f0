"""The one place that says which version of nlc this is; pyproject.toml reads it from here."""

VERSION = "0.1.0"
