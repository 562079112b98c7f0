"""States that move as one, or several writes a token -> the method that runs them in chunks.

The states stand beside one another in one tensor, the writes of a token one after another in one stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nlc.emit.chunks import method_name, numbered
from nlc.emit.coupled import Coupled, Erase
from nlc.emit.form_views import CoupledHelpersView, CoupledReadView, CoupledVectorsView, CoupledView, ErasesView, QueryView
from nlc.emit.fused import without_sign
from nlc.emit.layout import WIDTH, Lines, assignment, call, loop_over, returned, side_by_side
from nlc.emit.prose import wrapped
from nlc.emit.render import render
from nlc.ir.affine import OutputRead
from nlc.ir.algebra import Constant, Expr, When, is_number


def coupled_method(form: Coupled, local: str) -> str:
    """The method's text."""
    return render(_vectors_view(form, local) if form.is_vector else _view(form, local))


def coupled_helpers(forms: Sequence[Coupled]) -> tuple[str, ...]:
    """The functions that the methods of these memories call."""
    matrices = [form for form in forms if not form.is_vector]
    scaled = any(len(form.law.states) > 1 for form in matrices)
    several = any(len(form.law.writes) > 1 and form.memory.reads for form in matrices)
    return (render(CoupledHelpersView(scaled, several)),) if forms else ()


# --- views -------------------------------------------------------------------------------------------------------


def _view(form: Coupled, local: str) -> CoupledView:
    count, names = len(form.states), [state.role for state in form.states]
    reads, (targets, pieces) = _reads(form), _targets(form)
    return CoupledView(
        signature=_signature(form, local),
        docstring=_docstring(form),
        leading=names[0],
        states=f"torch.cat(({', '.join(names)}), -1)" if count > 1 else names[0],
        prelude=(*_moves(form), *_chunks(form)),
        targets=targets,
        columns=tuple(read.column for read in reads),
        gathered=(*pieces, *_gathered(form)),
        erases=_rows(form) if form.is_triangular else (),
        count=count,
        is_alone=count == 1,
        value="write" if form.is_triangular else "value",
        queries=tuple(
            QueryView(role := f"query{numbered(number, len(form.queries))}", tuple(read for read in reads if read.query == role))
            for number in range(len(form.queries))
        ),
        cut=f".chunk({count}, -1)" if count > 1 else "",
        after=", ".join(names),
        returned=_returned(reads, names),
    )


def _vectors_view(form: Coupled, local: str) -> CoupledVectorsView:
    names = [state.role for state in form.states]
    reads, (targets, pieces) = _reads(form), _targets(form)
    apart = "-1" if form.is_number else "-2"
    return CoupledVectorsView(
        signature=_signature(form, local),
        docstring=_docstring(form),
        leading=f"{names[0]}.shape{'' if form.is_number else '[:-1]'}",
        states=f"torch.stack(({', '.join(names)}), {apart}){'.unsqueeze(-1)' if form.is_number else ''}",
        prelude=(*_moves(form), *_chunks(form)),
        targets=targets,
        columns=tuple(read.column for read in reads),
        gathered=(*pieces, *_gathered(form)),
        count=len(form.seen),
        reads=reads,
        after=", ".join(names),
        final="states.squeeze(-1)" if form.is_number else "states",
        apart=apart,
        returned=_returned(reads, names, ".squeeze(-1)" if form.is_number else ""),
    )


def _returned(reads: Sequence[CoupledReadView], states: Sequence[str], shaped: str = "") -> Lines:
    return returned((*(f"_joined({read.column}, leading){shaped}" for read in reads), *states), 8)


def _reads(form: Coupled) -> tuple[CoupledReadView, ...]:
    count = len(form.memory.reads)
    return tuple(_read(form, read, numbered(number, count)) for number, read in enumerate(form.memory.reads))


def _read(form: Coupled, read: OutputRead, number: str) -> CoupledReadView:
    is_new = read.when is When.CURRENT
    query = "" if read.vector is None else f"query{numbered(form.queries.index(read.vector), len(form.queries))}"
    return CoupledReadView(
        query=query,
        name=f"read{number}",
        column=f"reads{number}",
        place=form.seen.index(form.place(read.component, read.part)),
        rows="1:" if is_new else ":-1",
        asked=f"({_of_start(form, query, 'after')})" if len(form.states) == 1 else _of_start(form, query, "after"),
        past=_past(len(form.law.writes), "" if is_new else "-1"),
    )


def _of_start(form: Coupled, vector: str, shares: str) -> str:
    """A vector times the shares of the states at the chunk's start, beside one another."""
    count = len(form.states)
    return f"{shares}[..., :1] * {vector}" if count == 1 else f"_scaled({vector}, {shares}[..., :{count}])"


def _past(writes: int, diagonal: str) -> str:
    """The scores of what was written up to a token, or before it."""
    if writes == 1:
        return f"scores.tril({diagonal})"
    return f"_causal({', '.join(filter(None, ('scores', str(writes), diagonal)))})"


def _like(form: Coupled) -> str:
    """A stream that has every token."""
    return "keys[0]" if form.gathered else next(role for role in form.moving if role not in form.factors.names.values())


def _moves(form: Coupled) -> Lines:
    """The lines that put the decays and weights of a token side by side, and those of the longest chunk together if all share them."""
    entries = [entry for row in form.moves for entry in row]
    texts = ["zero" if is_number(entry, 0) else form.factors.text(entry, "one") for entry in entries]
    lines: list[str] = []
    if any(isinstance(entry, Constant) for entry in entries):
        lines.append(f"one = torch.ones_like({_like(form)}[..., :1])")
    if "zero" in texts:
        lines.append("zero = torch.zeros_like(one)")
    lines.extend(assignment("moves", [f"torch.cat(({', '.join(texts)}), -1)"], 8))
    if form.is_steady:
        lines.append(f"((steady, _),) = {_made(form, 'moves[:, : self.chunk]')}")
    return tuple(lines)


def _chunks(form: Coupled) -> Lines:
    shares = [] if form.is_steady else [_made(form, "moves")]
    if form.gathered:
        return _chunks_of_writes(form, shares)
    pieces = f"*(_pieces(x, self.chunk) for x in ({side_by_side(form.moving)}))"
    if len(pieces) < WIDTH - 16:
        return call("chunks = zip", [*shares, pieces, "strict=True"], "", 8)
    streams = call("streams = ", form.moving, "", 8)
    return *streams, *call("chunks = zip", [*shares, "*(_pieces(x, self.chunk) for x in streams)", "strict=True"], "", 8)


def _chunks_of_writes(form: Coupled, shares: Sequence[str]) -> Lines:
    """The same, where the writes of a token come together: they are put one after another first."""
    roles = list(form.gathered)
    stacked = f"(torch.stack(x, 2).flatten(1, 2) for x in ({', '.join(f'{role}s' for role in roles)}))"
    longer = f"*(_pieces(x, {len(form.law.writes)} * self.chunk) for x in ({', '.join(roles)}))"
    others = [f"_pieces({role}, self.chunk)" for role in form.moving]
    return f"{', '.join(roles)} = {stacked}", *call("chunks = zip", [*shares, longer, *others, "strict=True"], "", 8)


def _made(form: Coupled, moves: str) -> str:
    return f"_shares({moves}, {len(form.law.states)}, [{', '.join(map(str, form.seen))}], self.chunk)"


def _targets(form: Coupled) -> tuple[str, Lines]:
    """What a chunk is taken apart into."""
    moving = (*form.gathered, *form.moving)
    return loop_over(moving if form.is_steady else ("(shares, last)", *moving), "chunks", 8)


def _gathered(form: Coupled) -> Lines:
    """The lines that cut what all chunks share, and put the writes of a token one after another."""
    count, writes = len(form.law.states), len(form.law.writes)
    lines: list[str] = []
    if form.is_steady:
        several = f"{writes} * n" if writes > 1 else "n"
        lines.append(f"n = key.shape[1] // {writes}" if form.gathered else f"n = {_like(form)}.shape[1]")
        lines.append(f"shares = steady[:, : n + 1, :, : {count} + {several}]")
        lines.append("last = shares[:, -1]")
    if writes > 1 and not form.gathered:
        for role in ("value",) if form.is_vector else ("key", "value"):
            names = ", ".join(f"{role}_{number + 1}" for number in range(writes))
            lines.append(f"{role} = torch.stack(({names}), 2).flatten(1, 2)")
    return tuple(lines)


def _rows(form: Coupled) -> tuple[ErasesView, ...]:
    """What the writes read: the first erase of every write, then the second ones, and so on; each set is one row of writes a token."""
    by_write = [[erase for erase in form.erases if erase.write == number] for number in range(len(form.law.writes))]
    found: list[ErasesView] = []
    for slot in range(max(map(len, by_write))):
        chosen = [erases[slot] if slot < len(erases) else None for erases in by_write]
        weights = next(erase.weights for erase in chosen if erase is not None)
        roles = [_role(form, erase) for erase in chosen]
        shares = [_share(form, weights if erase is None else erase.weights) for erase in chosen]
        stream = "erase" if form.gathered else _side_by_side(roles)
        before = _side_by_side(shares) if len(set(shares)) > 1 else _repeated(shares)
        erased = _of_start(form, "erase", "before")
        found.append(ErasesView("" if stream == "erase" else stream, before, "overlap + " if found else "", erased))
    return tuple(found)


def _side_by_side(texts: Sequence[str]) -> str:
    """Streams of the writes of a token, one after another."""
    return texts[0] if len(texts) == 1 else f"torch.stack(({', '.join(texts)}), 2).flatten(1, 2)"


def _repeated(texts: Sequence[str]) -> str:
    text = texts[0] if " * " not in texts[0] else f"({texts[0]})"
    return texts[0] if len(texts) == 1 else f"{text}.repeat_interleave({len(texts)}, 1)"


def _role(form: Coupled, erase: Erase | None) -> str:
    return "torch.zeros_like(key_1)" if erase is None else f"erase{numbered(form.erases.index(erase), len(form.erases))}"


def _share(form: Coupled, weights: Sequence[Expr]) -> str:
    """The shares in what a write reads: those of one state, or of several times their weights."""
    terms = []
    for place, weight in enumerate(weights):
        if not is_number(weight, 0):
            share = f"shares[:, :-1, {form.seen.index(place)}]"
            terms.append(share if is_number(weight, 1) else f"{form.factors.text(weight)} * {share}")
    return " + ".join(terms)


def _signature(form: Coupled, local: str) -> Lines:
    count = len(form.memory.reads) + len(form.states)
    result = f"tuple[{', '.join(['Tensor'] * count)}]" if count > 1 else "Tensor"
    arguments = [f"{name}: {kind}" for name, kind in (*form.roles, *((state.role, "Tensor") for state in form.states))]
    return call(f"def {method_name(local)}", ["self", *arguments], f" -> {result}:", 4)


# --- what the method says -----------------------------------------------------------------------------------------


def _docstring(form: Coupled) -> Lines:
    """The laws over the names of the roles."""
    laws = [*(_law(form, place) for place in range(len(form.states))), *_written(form)]
    one = "Several states that move as one" if len(form.states) > 1 else "Several writes a token"
    return (
        f"{one}, chunk by chunk.",
        "",
        *(f"            {'    ' if number else ''}{line}" for law in laws for number, line in enumerate(wrapped(law, 120))),
        "",
        "        Streams are (batch, time, *axes, size), a scalar one with size 1. What each state is after a token is a sum of the states",
        "        at the start of the chunk and of the writes since then, each times its share.",
    )


def _law(form: Coupled, place: int) -> str:
    writes = len(form.law.writes)
    kept = [(decay, f"{state.role}_{{t-1}}") for decay, state in zip(form.law.decays[place], form.states, strict=True)]
    value = "write" if form.is_triangular else "value"
    along = "" if form.is_vector else " key{}_t^T"
    written = [
        (write.weights[place], f"{value}{number}_t{along.format(number)}")
        for write, number in zip(form.law.writes, (numbered(number, writes) for number in range(writes)), strict=True)
    ]
    return f"{form.states[place].role}_t = {_weighted(form, [*kept, *written])}"


def _written(form: Coupled) -> Iterator[str]:
    count = len(form.law.writes)
    for number in range(count) if form.is_triangular else ():
        text = f"write{numbered(number, count)}_t = value{numbered(number, count)}_t"
        for erase in (erase for erase in form.erases if erase.write == number):
            read = _weighted(form, [(weight, f"{state.role}_{{t-1}}") for weight, state in zip(erase.weights, form.states, strict=True)])
            text += f" - {f'({read})' if ' + ' in read else read} {_role(form, erase)}_t"
        yield text


def _weighted(form: Coupled, terms: Sequence[tuple[Expr, str]]) -> str:
    """A sum in the words of a docstring."""
    found = ""
    for weight, text in terms:
        if is_number(weight, 0):
            continue
        sign, amount = without_sign(weight)
        names = "" if is_number(amount, 1) else " ".join(_subscripted(form, amount)) + " "
        found += (f" {sign or '+'} " if found else sign) + f"{names}{text}"
    return found or "0"


def _subscripted(form: Coupled, amount: Expr) -> Iterator[str]:
    return (word if word[0].isdigit() or word[0] == "(" else f"{word}_t" for word in form.factors.text(amount).split(" * "))
