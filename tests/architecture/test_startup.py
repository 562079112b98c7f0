"""`nlc check` and `nlc show` answer at once: they load neither torch nor sympy nor what only emission needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nlc.pipeline import STAGES
from tests.architecture.modules import ROOT
from tests.timing import is_in_time, time_of_children

SPEC = "specs/architectures/gated_delta_rule.yaml"
HEAVY = ("torch", "sympy", "numpy", "networkx", "jinja2", "safetensors")
CHECK_SECONDS = 0.4
COMMANDS = ("check", "explain", *(f"show --stage {stage.name}" for stage in STAGES if stage.name != "emit"))

PROBE = """
import sys
from nlc.cli import main
status = main({arguments})
print(status, sorted(set({heavy}) & set(sys.modules)), file=sys.stderr)
"""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_heavy_is_loaded(command: str) -> None:
    done = run("-c", PROBE.format(arguments=[*command.split(), SPEC], heavy=HEAVY))
    assert done.stderr.splitlines()[-1] == "0 []", done.stderr


def test_check_answers_in_time() -> None:
    assert run("-m", "nlc", "check", SPEC).returncode == 0
    assert is_in_time(CHECK_SECONDS, lambda: run("-m", "nlc", "check", SPEC), time_of_children)
