"""`memory: matrix(d_v, d_k)` -> the tensors a memory consists of and how it is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nlc.codes import resolve as codes
from nlc.diagnostics import CompileError
from nlc.ir.dims import Dim, Shape
from nlc.ir.model import StateDeclaration
from nlc.ir.spec import Binary, Call, Comparison, DefinitionField, Listing, Name, Negate, Syntax
from nlc.resolve.calls import bind_all
from nlc.resolve.networks import MLP, mlp_type
from nlc.resolve.scope import MemoryType
from nlc.resolve.sizes import dim_of


def is_like_weights(syntax: Syntax | None) -> bool:
    """Whether this is `like(weights)`."""
    match syntax:
        case Call(Name("like"), (Name("weights"),), ()):
            return True
    return False


def memory_type(syntax: Syntax, dims: Mapping[str, Dim], known: Mapping[str, DefinitionField], like: Shape | None) -> MemoryType:
    """The memory that an expression names; raises CompileError."""
    if is_like_weights(syntax):
        if like is None:
            raise CompileError(codes.like_outside_optimizer(syntax.span))
        return MemoryType("like(weights)", (StateDeclaration(part="", shape=like),), ("weights",))
    call = syntax if isinstance(syntax, Call) else Call(syntax, (), (), syntax.span)
    name = call.function.text if isinstance(call.function, Name) else call.span.text
    memories = {key: item for key, item in known.items() if item.states}
    if name == MLP and name not in memories:
        return mlp_type(call, dims)
    if name not in memories:
        raise CompileError(codes.unknown_memory(call.function.span, name, {*memories, MLP, *(["like(weights)"] if like else [])}))
    return _instance(memories[name], name, call, dims, memories)


def _instance(
    definition: DefinitionField, name: str, call: Call, dims: Mapping[str, Dim], memories: Mapping[str, DefinitionField]
) -> MemoryType:
    _check_read(definition)
    parameters = [parameter.text for parameter in definition.parameters]
    bound = bind_all(name, parameters, call)
    sizes = {parameter: dim_of(value, dims) for parameter, value in bound.items()}
    inner = {**dims, **sizes}
    single = len(definition.states) == 1
    states = tuple(
        StateDeclaration(part="" if single else state.name.text, shape=_state_shape(state.value, inner, memories))
        for state in definition.states
    )
    text = f"{name}({', '.join(str(size) for size in sizes.values())})" if sizes else name
    return MemoryType(text, states, tuple(state.name.text for state in definition.states), definition.read, sizes)


def _check_read(definition: DefinitionField) -> None:
    """Raise CompileError for a state that the memory's read never uses: its gradient would always be zero."""
    if definition.read is None:
        return
    used = set(_names_in(definition.read.body))
    for state in definition.states:
        if state.name.text not in used:
            raise CompileError(codes.unread_state(state.name.span, definition.name.text, state.name.text, definition.read.span))


def _names_in(syntax: Syntax) -> Iterator[str]:
    match syntax:
        case Name(text):
            yield text
        case Negate(operand):
            yield from _names_in(operand)
        case Binary(_, left, right):
            yield from (*_names_in(left), *_names_in(right))
        case Comparison(operands) | Listing(operands):
            yield from (name for operand in operands for name in _names_in(operand))
        case Call(function, arguments, keywords):
            parts = (function, *arguments, *(value for _, value in keywords))
            yield from (name for part in parts for name in _names_in(part))


def _state_shape(syntax: Syntax, dims: Mapping[str, Dim], memories: Mapping[str, DefinitionField]) -> Shape:
    """A state's shape: `[rows, columns]`, or a memory with one state: `matrix(d, d)`."""
    match syntax:
        case Listing(items) if len(items) <= 2:
            return tuple(dim_of(item, dims) for item in items)
        case Call(Name(text)) if (
            text in memories and len(memories[text].states) == 1 and isinstance(memories[text].states[0].value, Listing)
        ):
            return _instance(memories[text], text, syntax, dims, memories).states[0].shape
    raise CompileError(codes.not_a_size(syntax.span, "a state is [size], [rows, columns], vector(size) or matrix(rows, columns)"))
