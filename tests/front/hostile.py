"""Inputs made to break, hang or subvert a compiler: texts, expressions that grow, paths, and what is to become of each."""

from __future__ import annotations

SPEC = """\
nlc: 1
name: Hostile
dims: {{{dims}}}
inputs: {{k: [d_k], v: [d_v], beta: []}}
hyperparameters: {{rate: {rate}}}
{top}
levels:
  memory:
    memory: {memory}
    keys: {keys}
    values: v
    objective: {objective}
    retention: {retention}
    optimizer: gradient_descent({learning_rate})
    every: {every}
outputs: {{y: memory(k)}}
"""

DEFAULTS = {
    "dims": "d_k: 4, d_v: 3",
    "rate": "0.1",
    "top": "",
    "memory": "matrix(d_v, d_k)",
    "keys": "k",
    "objective": "l2",
    "retention": "1",
    "learning_rate": "beta",
    "every": "token",
}


def spec(**changes: str) -> str:
    """A small spec that compiles, with some entries replaced."""
    return SPEC.format(**{**DEFAULTS, **changes})


def chain(lines: int) -> str:
    """`let` entries of which each doubles the one before."""
    return "let:\n  x0: beta\n" + "\n".join(f"  x{index}: x{index - 1} + x{index - 1}" for index in range(1, lines))


def row(names: int) -> str:
    """`let` entries of which each is the next one."""
    return "let:\n" + "\n".join(f"  y{index}: y{index + 1}" for index in range(names))


def bomb(levels: int) -> str:
    """The laughs of YAML: aliases of aliases, ten of each."""
    anchors = [f"a{index}: &a{index} [{', '.join([f'*a{index - 1}'] * 10)}]" for index in range(1, levels)]
    return "\n".join(["a0: &a0 [ha]", *anchors])


def tower(function: str, inner: str, height: int = 60) -> str:
    return f"{function}(" * height + inner + ")" * height


TEXTS: dict[str, tuple[str, str]] = {
    "key twice": ("nlc: 1\nname: A\nname: B\n", "NLC110"),
    "alias bomb": (bomb(9), "NLC106"),
    "alias of itself": ("nlc: &a [*a]\n", "NLC106"),
    "merge key": ("nlc: 1\n<<: {name: A}\n", "NLC108"),
    "python object": ('nlc: !!python/object/apply:os.system ["touch canary"]\n', "NLC107"),
    "python module": ("nlc: !!python/module:os\n", "NLC107"),
    "lists inside lists": ("[" * 5000, "NLC112"),
    "mappings inside mappings": ("nlc: " + "{a: " * 5000, "NLC112"),
    "keys of lists": ("? [a]\n: b\n", "NLC111"),
    "five thousand digits": (spec(learning_rate="9" * 3000), "NLC133"),
    "five thousand digits of a dim": (spec(dims=f"d_k: {'9' * 5000}, d_v: 3"), "NLC122"),
    "yes and no are text": ("nlc: yes\nname: A\n", "NLC144"),
    "an octal number": (spec(dims="d_k: 0o12, d_v: 3"), "NLC127"),
    "a sexagesimal number": (spec(dims="d_k: 12:30:45, d_v: 3"), "NLC124"),
    "infinity": (spec(learning_rate=".inf"), "NLC125"),
    "not a number": (spec(rate=".nan"), "NLC125"),
    "a direction override": (spec(top="let: {x: beta}  # \u202e"), "NLC103"),
    "a null character": ("nlc: 1\0", "NLC103"),
    "an escaped null character": ('nlc: 1\nname: "A\\0"\n', "NLC105"),
    "a lookalike letter": (spec(learning_rate="\u0431eta"), "NLC124"),
    "a lookalike name": (spec(top="let: {b\u0435ta: 1}"), "NLC147"),
    "several documents": ("nlc: 1\n---\nnlc: 1\n", "NLC109"),
    "directives": ("%YAML 1.1\n---\nnlc: 1\n", "NLC105"),
    "quotes that never close": ('nlc: "' + "a" * 100_000, "NLC105"),
    "ten thousand levels": ("nlc: 1\nname: A\nlevels:\n" + "".join(f"  l{index}: {{}}\n" for index in range(10_000)), "NLC150"),
    "code as an expression": (spec(learning_rate="__import__('os').system('touch canary')"), "NLC124"),
    "code without quotes": (spec(learning_rate="__import__(os).system(touch)"), "NLC125"),
    "an attribute": (spec(learning_rate="beta.__class__"), "NLC214"),
}
"""What it is: the text, and the code of the first diagnostic."""

LARGE: dict[str, tuple[str, str]] = {
    "a mebibyte and more": ("#" * (2**20 + 1), "NLC102"),
    "a mebibyte of comment": ("#" * 2**20, "NLC104"),
    "a mebibyte of one word": ("a" * 2**20, "NLC143"),
    "a mebibyte of lists": ("- " * 2**19, "NLC112"),
    "a mebibyte of keys": ("".join(f"k{index:06d}: 1\n" for index in range(90_000)), "NLC113"),
    "fifty thousand values": ("nlc: [" + "a," * 50_001 + "]", "NLC113"),
    "a mebibyte of one key": ("a: 1\n" * 200_000, "NLC110"),
    "a mebibyte of blanks": ("nlc: 1\n" + " " * (2**20 - 10), "NLC142"),
    "a mebibyte of text": ("nlc: 1\nsays: |\n" + "  so it is said\n" * 60_000, "NLC142"),
}
"""The same, near the limits of size."""

GROWING: dict[str, tuple[str, str]] = {
    "numbers raised": (spec(learning_rate="((10 ** 64) ** 64) ** 64"), "NLC241"),
    "a default raised": (spec(rate="((10 ** 64) ** 64) ** 64"), "NLC241"),
    "a period of many digits": (spec(every=f"({' * '.join(['1e300'] * 12)}) tokens"), "NLC241"),
    "thirds added up": (spec(learning_rate=" + ".join(f"1 / {3**20 + index}" for index in range(60))), "NLC241"),
    "names that double": (spec(top=chain(40), learning_rate="x39"), "NLC229"),
    "names in a long row": (spec(top=row(2000), learning_rate="y0"), "NLC229"),
    "a definition that doubles": (
        spec(top="define:\n  twice:\n    parameters: [x]\n    objective: x + x", learning_rate=tower("twice", "beta")),
        "NLC229",
    ),
    "norms of norms": (spec(objective=f"l2 + {tower('norm2', 'prediction')}"), "NLC229"),
    "norms of vectors of vectors": (spec(objective=f"l2 + dot(value, {tower('l2_normalise', 'prediction')})"), "NLC229"),
    "keys that are large": (spec(top=chain(10), keys="x9 * k", objective=" + ".join(["l2"] * 90)), "NLC229"),
    "softmax of softmax": (spec(objective=f"dot(value, {tower('softmax', 'prediction', 40)})"), "NLC415"),
    "a product of many errors": (spec(objective=" * ".join(["norm2(prediction - value)"] * 60)), "NLC415"),
    "dims squared again and again": (
        spec(dims="d_k: 1, d_v: 3, s0: d_k, " + ", ".join(f"s{index}: s{index - 1} * s{index - 1}" for index in range(1, 60))),
        "NLC208",
    ),
    "dims in a long row": (
        spec(dims="d_k: 4, d_v: 3, " + ", ".join(f"s{index}: s{index + 1}" for index in range(3000)) + ", s3000: d_k"),
        "NLC208",
    ),
    "a size multiplied out": (spec(memory=f"matrix(d_v, {' * '.join(['(d_k + d_v + 1)'] * 60)})"), "NLC208"),
    "a size beyond memory": (spec().replace("k: [d_k]", "k: [d_k], large: [1048576 * d_k]"), "NLC217"),
}
"""Small texts whose meaning would be huge."""

FINE: dict[str, str] = {
    "matrices multiplied out": spec(objective=f"dot(memory @ {' @ '.join(['(eye + outer(k, k))'] * 30)} @ k, v) + l2"),
    "a deep function": spec(objective=tower("tanh", "norm2(prediction - value)", 30)),
    "a long sum": spec(learning_rate=" + ".join(["beta"] * 90)),
    "a bracketed name": spec(learning_rate="(" * 60 + "beta" + ")" * 60),
}
"""Texts that look alike, and must compile as soon."""

PATHS = (
    "/etc/passwd", "../../../../etc/passwd", "..", ".", "../outside", "C:/Windows/win", "C:\\Windows", "\\\\host\\share",
    "~/.ssh/id", "$HOME/x", "file:///etc/passwd", "https://example.com/a.yaml", "architectures/../../outside", "linked",
    "linked_folder/outside", "%2e%2e/outside", "architectures\\delta_rule", "a" * 300, "'a\tb'",
)  # fmt: skip
"""What `extends`, `use` and `same_as` must not follow."""

INJECTIONS = (
    '"""\nimport os\nos.system("touch canary")\n"""',
    "'''; import os; os.system('touch canary') #",
    "{{ cycler.__init__.__globals__.os.popen('touch canary').read() }}",
    "{% for x in ().__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}",
    "{# comment #} ${IFS} `touch canary` $(touch canary)",
    "\\N{QUOTATION MARK}\\x22\\u0022\\",
    "ends with a backslash \\",
    'ends with a quote "',
    "# -*- coding: utf-7 -*- +AAo-import os",
    "%s %d %(name)s {0} {name!r}",
    "a\u00a0b\u3000c \U0001f600 \u212b",
)
"""Sentences that try to leave the docstring, the template or the line that they stand in."""

NAMES = (
    "import", "class", "None", "self", "torch", "eval", "prev", "learned", "__init__", "_x", "1a", "", "A", "a" * 42,
    "a-b", "a b", "a.b", "a;b", 'a"b', "a'b", "a\\b", "a(b)", "{{a}}", "{%a%}", "a\u0301", "\u0430", "\uff41", "a\u200b",
)  # fmt: skip
"""What no dim, stream, number, level, abbreviation or definition may be called."""
