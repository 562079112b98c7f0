"""`nlc doctor`: versions, devices, compiler: what will be used and why."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from nlc.version import VERSION

HELP = "say what this machine has and what nlc will use"
PACKAGES = ("torch", "PyYAML", "jinja2", "rich", "safetensors")


def add_arguments(parser: ArgumentParser) -> None:
    """None."""


def run(arguments: Namespace) -> int:
    """0 when everything that nlc needs is there, else 1."""
    facts = list(_facts())
    width = max(len(name) for name, _, _ in facts)
    for name, text, good in facts:
        print(f"{'ok ' if good else 'BAD'} {name:<{width}}  {text}")
    return 0 if all(good for _, _, good in facts) else 1


def _facts() -> Iterator[tuple[str, str, bool]]:
    """Name, finding, and whether nlc can work with it."""
    yield "nlc", VERSION, True
    yield "python", f"{platform.python_version()} ({sys.implementation.name})", sys.version_info >= (3, 11)
    for package in PACKAGES:
        try:
            yield package, version(package), True
        except PackageNotFoundError:
            yield package, "not installed", False
    yield from _yaml()
    yield from _torch()
    compiler = next((name for name in (os.environ.get("CXX", ""), "g++", "clang++") if name and shutil.which(name)), None)
    yield (
        "C++ compiler",
        f"{compiler} (used by torch.compile only)" if compiler else "none found: torch.compile will not work on the CPU",
        True,
    )
    yield from _specs()


def _yaml() -> Iterator[tuple[str, str, bool]]:
    from nlc.parse.yaml_nodes import HAS_LIBYAML

    yield "yaml parser", "libyaml" if HAS_LIBYAML else "pure Python (slower, same results)", True


def _torch() -> Iterator[tuple[str, str, bool]]:
    from nlc.verify.environment import torch_facts

    yield from torch_facts()


def _specs() -> Iterator[tuple[str, str, bool]]:
    from nlc.parse.shipped import shipped_specs_folder

    count = len(list(shipped_specs_folder().rglob("*.yaml")))
    yield "shipped specs", f"{count} files", count > 0
