"""The evidence about one spec: squares that close or not, claims with their verdicts, as text and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nlc.verify.claims import Verdict
from nlc.verify.square import FAULTS, Square, faulty_stage

METHOD = "commuting squares in float64: oracle, laws, program and module, outputs, final states and gradients"


@dataclass(frozen=True, slots=True)
class Report:
    """What was shown about one spec and one module text; `module` says which text was judged."""

    spec: str
    name: str
    module: str
    squares: tuple[Square, ...]
    verdicts: tuple[Verdict, ...]
    is_as_built: bool = True

    @property
    def fault(self) -> str | None:
        """The stage to blame when a square is open: `file` when emit would be, and the text is not what emit writes."""
        stage = faulty_stage(self.squares)
        return "file" if stage == "emit" and not self.is_as_built else stage

    @property
    def drawn(self) -> tuple[Square, ...]:
        """The squares that apply to this system."""
        return tuple(square for square in self.squares if square.applies)

    @property
    def inapplicable(self) -> tuple[Square, ...]:
        """Those that do not, each with its reason."""
        return tuple(square for square in self.squares if not square.applies)

    @property
    def as_expected(self) -> bool:
        """Whether every square closes and every claim got the verdict that its spec expects."""
        return all(square.closed for square in self.squares) and all(verdict.as_expected for verdict in self.verdicts)

    @property
    def measured(self) -> dict[str, object]:
        """What differs from machine to machine: the errors of the squares."""
        return self.as_json()[0]

    def as_json(self) -> list[dict[str, object]]:
        """One object for the module itself, then one per claim."""
        drawn, fault = self.drawn, self.fault
        closed = sum(square.closed for square in drawn)
        module: dict[str, object] = {
            "spec": self.spec,
            "claim": "the module computes what the spec says",
            "verdict": "tested" if closed == len(drawn) else "refuted",
            "expected": "tested",
            "method": METHOD,
            "module": self.module,
            "squares": {"closed": closed, "all": len(drawn)},
            "faulty_stage": fault,
            "fault": FAULTS[fault] if fault else None,
            "open": [square.as_json() for square in drawn if not square.closed],
            "does_not_apply": [{"name": square.name, "because": square.detail} for square in self.inapplicable],
            "worst": [square.as_json() for square in _worst(drawn)],
        }
        return [module, *({"spec": self.spec, **verdict.as_json()} for verdict in self.verdicts)]

    def lines(self) -> Iterator[tuple[bool, str]]:
        """The report for people: whether each line is good, and its text."""
        drawn, fault = self.drawn, self.fault
        closed = sum(square.closed for square in drawn)
        good = closed == len(drawn)
        summary = f"{closed} of {len(drawn)} squares close"
        yield good, f"{'ok ' if good else 'BAD'} {self.name}: {summary} ({self.module})"
        if fault:
            yield False, f"    the first that does not names the stage: {fault}, for {FAULTS[fault]}"
            for square in [square for square in drawn if not square.closed][:3]:
                yield False, f"    {square.text}"
        if self.inapplicable:
            checks = ", ".join(square.right for square in self.inapplicable)
            yield True, f"    not applicable ({len(self.inapplicable)}; --json - says why): {checks}"
        yield from claim_lines(self.verdicts)


def claim_lines(verdicts: Sequence[Verdict]) -> Iterator[tuple[bool, str]]:
    """A line for each claim, and one more for what went otherwise than expected."""
    for verdict in verdicts:
        expected = "" if verdict.as_expected else f" (expected {verdict.expected})"
        name = f"{verdict.id}: " if verdict.id else ""
        yield verdict.as_expected, f"{'ok ' if verdict.as_expected else 'BAD'}   {verdict.verdict:<9} {name}{verdict.claim}{expected}"
        if not verdict.as_expected:
            yield False, f"{' ' * 14}{verdict.detail}"
        if verdict.finding.table is not None:
            yield verdict.as_expected, f"{' ' * 14}{verdict.finding.table.text}"


@dataclass(frozen=True, slots=True)
class ClaimsReport:
    """What was found about a file of claims: the verdicts of each section, by its name."""

    path: str
    name: str
    says: str
    sections: tuple[tuple[str, str, tuple[Verdict, ...]], ...]

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """All of them, in order."""
        return tuple(verdict for _, _, verdicts in self.sections for verdict in verdicts)

    @property
    def as_expected(self) -> bool:
        return all(verdict.as_expected for verdict in self.verdicts)

    @property
    def measured(self) -> dict[str, object]:
        """What differs from machine to machine: nothing, of claims."""
        return {}

    def as_json(self) -> list[dict[str, object]]:
        """One object per claim."""
        return [{"file": self.path, **verdict.as_json()} for verdict in self.verdicts]

    def lines(self) -> Iterator[tuple[bool, str]]:
        """The report for people: whether each line is good, and its text."""
        for name, says, verdicts in self.sections:
            good = all(verdict.as_expected for verdict in verdicts)
            yield good, f"{'ok ' if good else 'BAD'} {name}{': ' if says else ''}{says}"
            yield from claim_lines(verdicts)
        counts = Counter(verdict.verdict for verdict in self.verdicts)
        found = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
        expected = sum(verdict.as_expected for verdict in self.verdicts)
        all_good = self.as_expected
        yield all_good, f"{'ok ' if all_good else 'BAD'} {self.path}: {expected} of {len(self.verdicts)} verdicts as expected: {found}"


def _worst(squares: tuple[Square, ...]) -> list[Square]:
    """The square nearest to its bound, per pair of what is compared."""
    nearest: dict[tuple[str, str], Square] = {}
    for square in squares:
        pair = (square.left, square.right)
        if square.bound and (pair not in nearest or square.error / square.bound > nearest[pair].error / nearest[pair].bound):
            nearest[pair] = square
    return list(nearest.values())
