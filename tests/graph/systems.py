"""Systems to draw: a continuum memory of any number of levels as spec text, one with every kind of clock and wire, and arbitrary ones."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

from hypothesis import strategies as st

from nlc import pipeline
from nlc.graph.wires import KINDS
from nlc.ir.algebra import ONE
from nlc.ir.model import STEP, TOKEN, Clock, Component, GradientDescent, Model
from nlc.ir.order import Edge, Level, LevelOrder
from nlc.order import order_levels
from tests.architecture.modules import ROOT
from tests.order.systems import ALWAYS, NEVER, SEQUENCE, entry, steps, system, tokens

DOCUMENTED = sorted((ROOT / "docs" / "graphs").glob("*.yaml"))

HEAD = """\
nlc: 1
name: ContinuumMemory
says: Memories from fast to slow; each is fitted to what the next faster one leaves, and starts again from the next slower one.
cites: [nl:section-7]
dims: {d: 64}
inputs: {x: [d], target: [d], rate: []}
levels:
"""


def continuum_memory(count: int) -> str:
    """A spec with `count` levels, the slowest of which moves every 2 ** (count - 1) tokens."""
    names = [f"block_{number:02d}" for number in range(1, count + 1)]
    return f"{HEAD}{''.join(_block(names, number) for number in range(count))}outputs:\n  y: {' + '.join(f'{name}(x)' for name in names)}\n"


def _block(names: list[str], number: int) -> str:
    lines = [
        f"  {names[number]}:",
        "    memory: matrix(d, d)",
        "    keys: x",
        f"    values: target - {names[number - 1]}(x)" if number else "    values: target",
        "    objective: l2",
        "    optimizer: gradient_descent(rate)",
        f"    every: {2**number} tokens" if number else "    every: token",
    ]
    if number + 1 < len(names):
        lines += [f"    init: {names[number + 1]}", f"    reset: {2 ** (number + 1)} tokens"]
    return "\n".join([*lines, ""])


def ordered(path: Path) -> LevelOrder:
    order: LevelOrder = pipeline.run_until("order", path)
    return order


def everything() -> LevelOrder:
    """Clocks of every family, ties on several lines, and reads of every kind, near and far, up and down."""
    model = system(
        entry("attention", ALWAYS, "memory key_memory project_q"),
        entry("orthogonal", tokens(1, 5), init="prev(memory)"),
        entry("memory", TOKEN, "prev(project_k) momentum project_v", block="first"),
        entry("momentum", TOKEN, "prev(memory) hold(slow_memory)", block="first"),
        entry("key_memory", TOKEN, "prev(value_memory) prev(memory)", block="second"),
        entry("value_memory", TOKEN, "memory key_memory prev(momentum)", block="second"),
        entry("slow_memory", tokens(16), "memory value_memory momentum", block="second"),
        entry("document", SEQUENCE, "slow_memory memory"),
        *(entry(f"project_{name}", STEP, f"moment_{name} frozen") for name in "qkvo"),
        *(entry(f"moment_{name}", STEP, f"prev(project_{name})") for name in "qkvo"),
        entry("average_of_all_the_projections_together", steps(100, 12), "prev(project_q) project_k project_v moment_o frozen"),
        entry("frozen", NEVER),
        says="Everything at once, <with> & without 記憶 \a.",
    )
    return order_levels(model)


def all_to_all(count: int, in_a_level: int) -> LevelOrder:
    """Components that all read one another in every way: more than `order` would ever give."""
    names = [f"memory_{number:02d}" for number in range(count)]
    members = [names[start : start + in_a_level] for start in range(0, count, in_a_level)]
    return _order(members, [TOKEN] * len(members), [Edge(*pair, kind) for pair in permutations(names, 2) for kind in KINDS])


def _order(members: list[list[str]], clocks: list[Clock], edges: list[Edge]) -> LevelOrder:
    count = len(members)
    levels = tuple(Level(rank, tuple(names), clocks[rank], rank + 1, count - rank) for rank, names in enumerate(members))
    components = tuple(_component(name, level.clock) for level in levels for name in level.components)
    model = Model(name="Arbitrary", kind="architecture", components=components)
    return LevelOrder(model=model, levels=levels, edges=tuple(edges), relations=(), run_order=tuple(item.name for item in components))


CLOCKS = (TOKEN, tokens(1, 3), tokens(4), SEQUENCE, STEP, steps(64), ALWAYS, NEVER)


@st.composite
def orders(draw: st.DrawFn) -> LevelOrder:
    """Levels of any sizes with any edges."""
    sizes = draw(st.lists(st.integers(1, 7), min_size=1, max_size=8))
    members = [[f"level_{rank}_{number}" for number in range(size)] for rank, size in enumerate(sizes)]
    names = st.sampled_from([name for level in members for name in level])
    pairs = draw(st.lists(st.tuples(names, names, st.sampled_from(KINDS)), max_size=40, unique=True))
    clocks = [draw(st.sampled_from(CLOCKS)) for _ in sizes]
    return _order(members, clocks, [Edge(*pair) for pair in pairs if pair[0] != pair[1]])


def _component(name: str, clock: Clock) -> Component:
    return Component(name=name, states=(), objective=ONE, follows=ONE, optimizer=GradientDescent(ONE), every=clock)
