"""The affine normal form of a law: how a memory moves when its new state is affine in the old one.

Per token, with S the old state, (rows, columns) or (rows,):

    S' = decay * S + sum over writes of  (given + sum over reads of coefficient * (S @ vector)) along^T

A vector state has `along` None, and its reads have `vector` None: (given + coefficient * S). Triangular chunks and prefix sums
consume this form; nothing in it mentions the state itself (design section 5). Several states that move as one have a `CoupledLaw`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from nlc.ir.algebra import Expr, State, When
from nlc.ir.dims import Shape


@dataclass(frozen=True, slots=True)
class StateRead:
    """coefficient * (S @ vector): a scalar times a read of the old state."""

    coefficient: Expr
    vector: Expr


@dataclass(frozen=True, slots=True)
class Write:
    """(given + reads) along^T, added to the decayed state; `given` is None when the write is only reads."""

    along: Expr | None
    given: Expr | None
    reads: tuple[StateRead, ...] = ()


class Transition(Enum):
    """How the old state enters the new one, simplest first (design section 5)."""

    IDENTITY = "Identity"
    SCALAR = "Scalar"
    DIAGONAL = "Diagonal"
    SCALAR_MINUS_LOW_RANK = "ScalarMinusLowRank"
    DIAGONAL_MINUS_LOW_RANK = "DiagonalMinusLowRank"
    COMPANION = "Companion"
    DENSE = "Dense"
    NONLINEAR = "Nonlinear"
    SOLVED = "Solved"


@dataclass(frozen=True, slots=True)
class AffineLaw:
    """The normal form of one tensor of one component's state.

    `decay` is a scalar (Constant 1 for Identity), or one number for each column of a matrix, or has the state's shape; the last two
    multiply it elementwise (the Diagonal transitions).
    """

    component: str
    part: str
    shape: Shape
    decay: Expr
    writes: tuple[Write, ...]

    @property
    def decays_by_column(self) -> bool:
        """Whether every column of a matrix, or every entry of a vector, has a decay of its own, the same in all rows."""
        return len(self.decay.shape) == 1


@dataclass(frozen=True, slots=True)
class CoupledRead:
    """coefficient * ((sum over the states of weight * X) @ vector): a read of the old states, all at one vector."""

    coefficient: Expr
    weights: tuple[Expr, ...]
    vector: Expr


@dataclass(frozen=True, slots=True)
class CoupledWrite:
    """(given + reads) along^T, one value, which every new state gets times its weight; vector states have `along` None, and no reads."""

    weights: tuple[Expr, ...]
    along: Expr | None
    given: Expr | None
    reads: tuple[CoupledRead, ...] = ()


@dataclass(frozen=True, slots=True)
class CoupledLaw:
    """The normal form of several states X_1 ... X_r of one shape that move as one, over the states at the token's start.

        X_i' = sum over j of decays[i][j] * X_j + sum over writes of weights[i] * (given + reads) along^T

    `states` are reads of the old states; all weights are scalars, and so are the decays unless they differ between entries.
    """

    states: tuple[State, ...]
    decays: tuple[tuple[Expr, ...], ...]
    writes: tuple[CoupledWrite, ...]

    @property
    def shape(self) -> Shape:
        return self.states[0].shape

    @property
    def has_reads(self) -> bool:
        return any(write.reads for write in self.writes)


@dataclass(frozen=True, slots=True)
class Classified:
    """A memory's transition, its normal form where there is one, and a sentence that says why it is this class.

    `affine` is the form of one state, `coupled` that of states that move as one, or of one state with several writes.
    """

    component: str
    transition: Transition
    affine: AffineLaw | None
    because: str
    coupled: CoupledLaw | None = None

    @property
    def has_form(self) -> bool:
        """Whether there is a normal form."""
        return self.affine is not None or self.coupled is not None


@dataclass(frozen=True, slots=True)
class OutputRead:
    """A read of a memory by an output or by another component's law: `name` = S @ vector (S itself when `vector` is None).

    `when` is CURRENT (S after this token's write) or PREVIOUS (before it). In a system of several updates a token that is about an update;
    `before_token` are reads of S before all updates of a token.
    """

    name: str
    component: str
    part: str
    vector: Expr | None
    when: When
    shape: Shape
    before_token: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether it is a whole matrix."""
        return self.vector is None and len(self.shape) == 2
