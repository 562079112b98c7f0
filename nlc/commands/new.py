"""`nlc new NAME`: a commented starting spec."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from pathlib import Path

from nlc.places import UsageError

HELP = "write a commented spec to start from"

STARTING_SPEC = """\
nlc: 1
name: {name}
says: One sentence about what this memory does.
cites: []

dims: {{d_k: 64, d_v: 64}}              # sizes, compared by name: d_k is never d_v
axes: [heads]                         # independent copies of the memory

inputs:                               # the context flow: one value of each per token
  q: [d_k]
  k: [d_k]
  v: [d_v]
  beta: {{shape: [], range: [0, 1]}}    # a scalar per token

levels:
  memory:
    memory: matrix(d_v, d_k)          # or vector(d_v)
    keys: k
    values: v
    # The inner objective. In it, prediction is memory(key); l2 and dot are short for
    # 0.5 * norm2(prediction - value) and -dot(prediction, value).
    objective: 0.5 * norm2(prediction - value)
    # retention: 0.99                 # what is kept of the old state: a number or a stream
    # gradient_at: retained           # take the gradient after forgetting, not before
    optimizer: gradient_descent(learning_rate = beta)
    every: token

outputs:
  y: memory(q)                        # read after the write; prev(memory)(q) reads before it

claims:
  - says: the write is the delta rule
    prove: memory == prev(memory) - beta * outer(prev(memory)(k) - v, k)
"""


def add_arguments(parser: ArgumentParser) -> None:
    """What the command line may say after the command."""
    parser.add_argument("name", help="the name of the system in CamelCase; the file is its snake_case")


def run(arguments: Namespace) -> int:
    """0 when the file was written; an existing file is never replaced."""
    if not re.fullmatch(r"[A-Z][A-Za-z0-9]{0,60}", arguments.name):
        raise UsageError(f"{arguments.name!r} is not a name in CamelCase, like DeltaRule")
    path = Path(f"{snake_case(arguments.name)}.yaml")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(STARTING_SPEC.format(name=arguments.name))
    except FileExistsError as error:
        raise UsageError(f"{path} exists already") from error
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error}") from error
    print(f"wrote {path}; next: nlc check {path}")
    return 0


def snake_case(name: str) -> str:
    """`DeltaRule` -> `delta_rule`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
