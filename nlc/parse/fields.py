"""The keys of every mapping in a spec, as tables: what the schema reads by, and what the language reference is printed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, unique
from types import MappingProxyType

MOST_LEVELS = 64


@unique
class Value(Enum):
    """What the value of a key may be, in the words of diagnostics and of the reference."""

    VERSION = "the number 1"
    SPEC_NAME = "a name in CamelCase"
    NAME = "a name"
    NAMES = "a list of names"
    SENTENCE = "text"
    KIND = "architecture, optimizer or model"
    VERDICT = "a verdict: proved, proved-if CONDITION, form-only, refuted, ill-typed, tested, measured TREND, unknown, interpretive"
    TRUTH = "true or false"
    CITATIONS = "a citation or a list of citations"
    PATH = "the path of a spec"
    PATHS = "the path of a fragment, or a list of paths"
    EXPRESSION = "an expression"
    FUNCTION = "a function: (x) -> expression"
    OPTIMIZER = "an optimizer: a name or a call"
    SHAPE = "a list of sizes, or like(weights)"
    RANGE = "a list of two numbers: [low, high]"
    DIMS = "a mapping from names to sizes"
    INPUTS = "a mapping from names to shapes"
    LETTERS = "a mapping from names, which may have capitals as in papers, to shapes"
    EXPRESSIONS = "a mapping from names to expressions"
    MEASURE = "gap by NAME in [NUMBERS]"
    BINDINGS = "a mapping from names of the other spec to expressions"
    STATES = "a mapping from names of tensors to their shapes"
    DEFINITIONS = "a mapping from names to definitions"
    LEVELS = "a mapping from names to levels"
    OUTER = "a mapping with an objective and an optimizer"
    PARTS = "a list of parts"
    BRANCHES = "a list of branches, each a part or a list of parts"
    EMBED = "two sizes: vocabulary -> d_model"
    CLAIMS = "a list of claims"
    CLAIMS_KIND = "claims"
    SECTIONS = "a list of systems with their claims"


@dataclass(frozen=True, slots=True)
class Field:
    """A key: what its value is, and one line about it. `into` names the attribute of the typed node when it differs."""

    key: str
    value: Value
    says: str
    required: bool = False
    into: str = ""

    @property
    def attribute(self) -> str:
        return self.into or self.key


SPEC_FIELDS = (
    Field("nlc", Value.VERSION, "the version of the language", required=True),
    Field("name", Value.SPEC_NAME, "the name of the class that is emitted", required=True),
    Field("kind", Value.KIND, "what is described; architecture when left out"),
    Field("says", Value.SENTENCE, "what it is, in a sentence"),
    Field("cites", Value.CITATIONS, "where it was published"),
    Field("strict", Value.TRUTH, "whether reads of another block's outputs count when components are ordered"),
    Field("extends", Value.PATH, "the spec that this one changes: mappings are merged by key, an empty value removes a key"),
    Field("use", Value.PATHS, "fragments whose keys are merged below this spec's own"),
    Field("dims", Value.DIMS, "named sizes with their defaults, or expressions of other dims"),
    Field("axes", Value.NAMES, "axes along which there are independent copies of the fast state"),
    Field("inputs", Value.INPUTS, "the context flow: streams with a shape each"),
    Field("hyperparameters", Value.EXPRESSIONS, "named numbers with their defaults"),
    Field("let", Value.EXPRESSIONS, "abbreviations: each means its text where it is used"),
    Field("define", Value.DEFINITIONS, "memories, objectives and retentions of this spec's own"),
    Field("levels", Value.LEVELS, "the components, each an associative memory with its own objective and clock"),
    Field("outputs", Value.EXPRESSIONS, "what is emitted at every token (an architecture needs it)"),
    Field("outer", Value.OUTER, "what trains the slow levels"),
    Field("claims", Value.CLAIMS, "what `nlc verify` is to show"),
    Field("network", Value.PARTS, "the parts of a model, from tokens to logits (a model needs it, and has none of the keys for levels)"),
)

LEVEL_FIELDS = (
    Field(
        "memory", Value.EXPRESSION, "what is stored, and its read: matrix(rows, columns), vector(n), mlp(d_in, ..., d_out), like(weights)"
    ),
    Field("objective", Value.EXPRESSION, "the inner objective: one number, minimised over this level"),
    Field("keys", Value.EXPRESSION, "what the memory is read with in its objective"),
    Field("values", Value.EXPRESSION, "what the memory is to answer"),
    Field("retention", Value.EXPRESSION, "what the old state is multiplied with before a step"),
    Field("optimizer", Value.OPTIMIZER, "gradient_descent(rate), proximal(rate), closed_form, or an optimizer spec"),
    Field("every", Value.EXPRESSION, "the clock of its updates: token, 16 tokens, step / 5, always, never"),
    Field("gradient_at", Value.EXPRESSION, "where the gradient is taken: previous (the default), retained, hold(n tokens)"),
    Field("init", Value.EXPRESSION, "the state before the first update; zeros when left out"),
    Field("reset", Value.EXPRESSION, "the clock on which the state starts again from `init`"),
    Field("reduce", Value.EXPRESSION, "sum (the default) or mean of the data since the last update"),
    Field("window", Value.EXPRESSION, "the data that the objective ranges over: n tokens, or all"),
    Field("backprop", Value.EXPRESSION, "whether slower levels learn through its updates: full, truncated(n updates), none"),
    Field("block", Value.NAME, "the block of a model that it belongs to"),
    Field("says", Value.SENTENCE, "what it is for, in a sentence"),
    Field("use", Value.PATH, "another level of the spec, or FILE.yaml#ENTRY, that this one is a copy of; keys given here replace its own"),
)

INPUT_FIELDS = (
    Field("shape", Value.SHAPE, "the sizes of one datum; [] is a number", required=True),
    Field("every", Value.EXPRESSION, "its clock, when it is not the token"),
    Field("axes", Value.NAMES, "the axes it has, when not all of the spec's"),
    Field("range", Value.RANGE, "the least and the greatest value"),
)

DEFINITION_FIELDS = (
    Field("parameters", Value.NAMES, "what it is called with"),
    Field("states", Value.STATES, "the tensors of a memory: [rows, columns], matrix(d, d), vector(d)"),
    Field("read", Value.FUNCTION, "how a memory answers"),
    Field("objective", Value.EXPRESSION, "an objective, in prediction, key, value and the parameters"),
    Field("retention", Value.EXPRESSION, "a retention, in the parameters"),
    Field("says", Value.SENTENCE, "what it is, in a sentence"),
    Field("cites", Value.CITATIONS, "where it was published"),
)

PART_FIELDS = (
    Field("embed", Value.EMBED, "a vector for each token: the size of the vocabulary, and that of a vector"),
    Field("repeat", Value.EXPRESSION, "how many times over the parts beside it stand, each time with parameters of their own"),
    Field("residual", Value.BRANCHES, "branches one after another, each added to what goes into it"),
    Field("parts", Value.PARTS, "the parts that are repeated"),
)

OUTER_FIELDS = (
    Field("objective", Value.EXPRESSION, "task, the loss handed in from outside; of a model, cross_entropy", required=True),
    Field("optimizer", Value.OPTIMIZER, "what moves the slow levels"),
    Field("every", Value.EXPRESSION, "the clock, in steps, of those that it moves and that say `every: step`"),
)

CLAIM_FIELDS = (
    Field("says", Value.SENTENCE, "the claim in a sentence", required=True),
    Field("id", Value.NAME, "what `nlc verify --explain` and other claims call it"),
    Field("prove", Value.EXPRESSION, "an equation about one tick, from any state; or two sides with !=, <, <=, > or >= between"),
    Field("minimise", Value.EXPRESSION, "an objective that is claimed to be least where `prove` says: over == value"),
    Field("over", Value.EXPRESSION, "the stream or old state that `minimise` ranges over"),
    Field("order", Value.EXPRESSION, "levels from fast to slow: a > b ~ c"),
    Field("same_as", Value.PATH, "another spec that computes the same"),
    Field("reading", Value.SENTENCE, "what is said in words, with no formula to decide"),
    Field("given", Value.EXPRESSION, "equations and bounds that are assumed, joined by `and`"),
    Field("expect", Value.VERDICT, "the verdict expected; when left out proved, with `measure` measured"),
    Field("where", Value.BINDINGS, "the other spec's inputs and hyperparameters in terms of this one's"),
    Field("with", Value.BINDINGS, "options of the other spec", into="options"),
    Field("varying", Value.NAMES, "hyperparameters that take another value at every tick"),
    Field("cites", Value.CITATIONS, "where it is claimed"),
    Field("instead", Value.NAME, "the id of the claim that holds where this one does not"),
    Field("measure", Value.MEASURE, "a table of gaps between both sides, or both systems, as a hyperparameter varies"),
)

CLAIMS_FILE_FIELDS = (
    Field("nlc", Value.VERSION, "the version of the language", required=True),
    Field("name", Value.SPEC_NAME, "what the claims are about", required=True),
    Field("kind", Value.CLAIMS_KIND, "claims: the file describes no system of its own", required=True),
    Field("says", Value.SENTENCE, "what they are, in a sentence"),
    Field("cites", Value.CITATIONS, "where they were published"),
    Field("sections", Value.SECTIONS, "systems, each with its claims", required=True),
)

SECTION_FIELDS = tuple(
    replace(field, required=field.key == "name", value=Value.LETTERS if field.key == "inputs" else field.value)
    for field in SPEC_FIELDS
    if field.key not in ("nlc", "outer", "network")
)
"""A section is a spec that needs neither levels nor outputs: claims may be about nothing but the streams and numbers it declares."""

TABLES: Mapping[str, tuple[Field, ...]] = MappingProxyType(
    {
        "a spec": SPEC_FIELDS,
        "a level": LEVEL_FIELDS,
        "an input": INPUT_FIELDS,
        "a definition": DEFINITION_FIELDS,
        "`outer`": OUTER_FIELDS,
        "a part of a network": PART_FIELDS,
        "a claim": CLAIM_FIELDS,
        "a file of claims": CLAIMS_FILE_FIELDS,
    }
)
"""The tables by what they describe, in the order of the reference."""
