"""HopeInnerLayer, compiled from its description.

The self-modifying rule of Hope between trained projections: from trained starts, the memories of keys, of values and of answers move along
the keys that they generate, at a rate and with a retention that the token decides on.

Compiled by nlc from specs/architectures/hope_inner_layer.yaml. Edit the spec, not this file.
sha256 of the spec: 36a44448c375db9222a3a22a6da7aa8bc6247e026440bdadfbc73be1fa0f033b

Levels, fastest first (Nested Learning, Definition 2)
    rank  components                                                     every  paper's number (slowest highest / slowest first)
    0     key_map, memory, value_map                                     token  1 / 2
    1     kernel_in, kernel_q, key_map.start, memory.start, project_in,  step   2 / 1
          project_out, project_q, project_rate, project_retention,
          value_map.start

Timetable
    every token  key_map, memory, value_map
    every step   kernel_in, kernel_q, key_map.start, memory.start, project_in,
                 project_out, project_q, project_rate, project_retention,
                 value_map.start

Laws, per token; prev is the state before
    retention          = sigmoid(split(project_retention @ x, heads))                   abbreviation
    rate               = largest_rate * sigmoid(split(project_rate @ x, heads))         abbreviation
    source             = split(convolve(project_in @ x, kernel_in), heads)              abbreviation
    q                  = l2_normalise(split(convolve(project_q @ x, kernel_q), heads))  abbreviation
    k                  = l2_normalise(prev(key_map.held_16) @ source)                   abbreviation
    prediction         = prev(key_map) @ k                                              read at the key
    v                  = prev(value_map.held_16) @ source                               abbreviation
    surprise           = prev(key_map.held_16) @ (k - v) + prediction
                         objective dot(key_map @ k, stop_gradient(hold(key_map, 16 tokens) @ (k - v))) + 0.5 * norm2(key_map @ k), by the
                         prediction; calculus
    gradient           = outer(surprise, k)                                             adjoint of apply; calculus
    key_map            = retention * prev(key_map) - rate * gradient                    explicit gradient step; nl:eq-83; nl:eq-88; nl:eq-94
    k                  = l2_normalise(prev(key_map.held_16) @ source)                   abbreviation
    prediction         = prev(memory) @ k                                               read at the key
    v                  = prev(value_map.held_16) @ source                               abbreviation
    surprise           = prev(memory.held_16) @ (k - v) + prediction
                         objective dot(memory @ k, stop_gradient(hold(memory, 16 tokens) @ (k - v))) + 0.5 * norm2(memory @ k), by the
                         prediction; calculus
    gradient           = outer(surprise, k)                                             adjoint of apply; calculus
    memory             = retention * prev(memory) - rate * gradient                     explicit gradient step; nl:eq-83; nl:eq-88; nl:eq-94
    k                  = l2_normalise(prev(key_map.held_16) @ source)                   abbreviation
    prediction         = prev(value_map) @ k                                            read at the key
    v                  = prev(value_map.held_16) @ source                               abbreviation
    surprise           = prev(value_map.held_16) @ (k - v) + prediction
                         objective dot(value_map @ k, stop_gradient(hold(value_map, 16 tokens) @ (k - v))) + 0.5 * norm2(value_map @ k),
                         by the prediction; calculus
    gradient           = outer(surprise, k)                                             adjoint of apply; calculus
    value_map          = retention * prev(value_map) - rate * gradient                  explicit gradient step; nl:eq-83; nl:eq-88; nl:eq-94
    y                  = project_out @ join(prev(memory) @ q / sqrt(norm2(prev(memory) @ q) / (d_model / heads) + 0.000001), heads)
                         read before the write
    key_map.held_16    = where(due(16 tokens), key_map, prev(key_map.held_16))          kept: read by hold(key_map, 16 tokens)
    memory.held_16     = where(due(16 tokens), memory, prev(memory.held_16))            kept: read by hold(memory, 16 tokens)
    value_map.held_16  = where(due(16 tokens), value_map, prev(value_map.held_16))      kept: read by hold(value_map, 16 tokens)
    recent.project_in  = recent(project_in @ x) and project_in @ x
                         kept: the last values of project_in @ x, for delays and convolutions
    recent.project_q   = recent(project_q @ x) and project_q @ x
                         kept: the last values of project_q @ x, for delays and convolutions
    position           = prev(position) + 1                                             kept: the tokens so far

Forms
    key_map: triangular chunks (deltanet, gated-deltanet)
        The old state is kept times sigmoid(split(project_retention @ x, heads)), and the writes read it at
        l2_normalise(prev(key_map.held_16) @ split(convolve(project_in @ x, kernel_in), heads)) alone (ScalarMinusLowRank).
        Writes read the old state through vectors alone, so those of a chunk solve one triangular system; the rest is matrix products.
    memory: triangular chunks (deltanet, gated-deltanet)
        The old state is kept times sigmoid(split(project_retention @ x, heads)), and the writes read it at
        l2_normalise(prev(key_map.held_16) @ split(convolve(project_in @ x, kernel_in), heads)) alone (ScalarMinusLowRank).
        Writes read the old state through vectors alone, so those of a chunk solve one triangular system; the rest is matrix products.
    value_map: triangular chunks (deltanet, gated-deltanet)
        The old state is kept times sigmoid(split(project_retention @ x, heads)), and the writes read it at
        l2_normalise(prev(key_map.held_16) @ split(convolve(project_in @ x, kernel_in), heads)) alone (ScalarMinusLowRank).
        Writes read the old state through vectors alone, so those of a chunk solve one triangular system; the rest is matrix products.
"""

import torch
from torch import Tensor, nn

__all__ = ["HopeInnerLayer"]


class HopeInnerLayer(nn.Module):
    """HopeInnerLayer, a memory over a sequence.

    The self-modifying rule of Hope between trained projections: from trained starts, the memories of keys, of values and of answers
    move along the keys that they generate, at a rate and with a retention that the token decides on.

    Inputs, by keyword, in any float dtype:
        x  (batch, time, d_model)
    State, kept in float32 or wider (a dict by name; None starts from the initial state):
        key_map  (batch, heads, d_model / heads, d_model / heads)
        value_map  (batch, heads, d_model / heads, d_model / heads)
        memory  (batch, heads, d_model / heads, d_model / heads)
        key_map.held_16  (batch, heads, d_model / heads, d_model / heads)
        memory.held_16  (batch, heads, d_model / heads, d_model / heads)
        value_map.held_16  (batch, heads, d_model / heads, d_model / heads)
        recent.project_in  (batch, width - 1, d_model)
        recent.project_q  (batch, width - 1, d_model)
        position  (), int64: how many tokens came before
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, d_model)
    `chunk`, in tokens, is about speed alone; under torch.compile every new length compiles anew.
    The sequence runs in blocks of 16 tokens, counted from the position of the state that is handed in.
    """

    def __init__(self, d_model: int = 256, heads: int = 4, width: int = 4, largest_rate: float = 0.5, chunk: int = 16) -> None:
        super().__init__()
        if chunk < 1:
            raise ValueError(f"chunk must be 1 or more, not {chunk}")
        self.chunk = chunk
        self.d_model = d_model
        self.heads = heads
        self.width = width
        self.largest_rate = largest_rate
        if d_model % heads:
            raise ValueError(f"d_head = d_model / heads must be a whole number, not {d_model} / {heads}")
        self.d_head = d_model // heads
        self.project_q = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_in = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_out = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_rate = nn.Parameter(torch.empty(self.heads, self.d_model))
        self.project_retention = nn.Parameter(torch.empty(self.heads, self.d_model))
        self.kernel_q = nn.Parameter(torch.empty(self.width, self.d_model))
        self.kernel_in = nn.Parameter(torch.empty(self.width, self.d_model))
        self.key_map_start = nn.Parameter(torch.empty(self.d_head, self.d_head))
        self.value_map_start = nn.Parameter(torch.empty(self.d_head, self.d_head))
        self.memory_start = nn.Parameter(torch.empty(self.d_head, self.d_head))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The slow levels as training finds them."""
        nn.init.uniform_(self.project_q, -(self.d_model**-0.5), self.d_model**-0.5)
        nn.init.uniform_(self.project_in, -(self.d_model**-0.5), self.d_model**-0.5)
        nn.init.uniform_(self.project_out, -(self.d_model**-0.5), self.d_model**-0.5)
        nn.init.uniform_(self.project_rate, -(self.d_model**-0.5), self.d_model**-0.5)
        nn.init.uniform_(self.project_retention, -(self.d_model**-0.5), self.d_model**-0.5)
        nn.init.uniform_(self.kernel_q, -(self.width**-0.5), self.width**-0.5)
        nn.init.uniform_(self.kernel_in, -(self.width**-0.5), self.width**-0.5)
        nn.init.uniform_(self.key_map_start, -(self.d_head**-0.5), self.d_head**-0.5)
        nn.init.uniform_(self.value_map_start, -(self.d_head**-0.5), self.d_head**-0.5)
        nn.init.uniform_(self.memory_start, -(self.d_head**-0.5), self.d_head**-0.5)

    def initial_state(self, batch: int, heads: int, *, like: Tensor) -> dict[str, Tensor]:
        """The start on the device of `like`, in its dtype or float32, whichever is wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return {
            "key_map": self.key_map_start.to(dtype).expand(batch, heads, self.d_head, self.d_head),
            "value_map": self.value_map_start.to(dtype).expand(batch, heads, self.d_head, self.d_head),
            "memory": self.memory_start.to(dtype).expand(batch, heads, self.d_head, self.d_head),
            "key_map.held_16": self.key_map_start.to(dtype).expand(batch, heads, self.d_head, self.d_head),
            "memory.held_16": self.memory_start.to(dtype).expand(batch, heads, self.d_head, self.d_head),
            "value_map.held_16": self.value_map_start.to(dtype).expand(batch, heads, self.d_head, self.d_head),
            "recent.project_in": like.new_zeros(batch, self.width - 1, self.d_model, dtype=dtype),
            "recent.project_q": like.new_zeros(batch, self.width - 1, self.d_model, dtype=dtype),
            "position": like.new_zeros((), dtype=torch.int64),
        }

    def forward(self, *, x: Tensor, state: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """The whole sequence in blocks, which end where a period may: equal to `forward_by_token`."""
        batch = x.shape[0]
        heads = self.heads
        with _full_precision(x):
            dtype = x.dtype
            before = 0 if state is None or state["position"].is_meta else int(state["position"])
            state = self._start(state, batch, heads, x)
            x = x.to(state["key_map"].dtype)
            project_q = self.project_q.to(state["key_map"].dtype)
            project_in = self.project_in.to(state["key_map"].dtype)
            project_out = self.project_out.to(state["key_map"].dtype)
            project_rate = self.project_rate.to(state["key_map"].dtype)
            project_retention = self.project_retention.to(state["key_map"].dtype)
            kernel_q = self.kernel_q.to(state["key_map"].dtype)
            kernel_in = self.kernel_in.to(state["key_map"].dtype)
            recent_project_in = torch.cat((state["recent.project_in"], x @ project_in.mT), 1)
            recent_project_q = torch.cat((state["recent.project_q"], x @ project_q.mT), 1)
            retention = (x @ project_retention.mT).sigmoid()
            rate = self.largest_rate * (x @ project_rate.mT).sigmoid()
            source = torch.unflatten(_convolved(recent_project_in, kernel_in), -1, (self.heads, -1))
            q = torch.nn.functional.normalize(torch.unflatten(_convolved(recent_project_q, kernel_q), -1, (self.heads, -1)), dim=-1)
            streams = (retention, source, rate, q)
            lengths = _block_lengths(before, 16, x.shape[1])
            blocks = zip(*(torch.split(x.movedim(1, 2).flatten(0, 1), lengths, 1) for x in streams), strict=True)
            moved = {
                name: x.flatten(0, 1) for name, x in state.items() if name not in {"recent.project_in", "recent.project_q", "position"}
            }
            y_inside_in_blocks = [x.new_empty(batch * heads, 0, self.d_head)]
            for given in blocks:
                y_inside, moved = self._block(*given, state=moved, before=before)
                before = before + given[0].shape[1]
                y_inside_in_blocks.append(y_inside)
            y_inside = torch.unflatten(torch.cat(y_inside_in_blocks, 1), 0, (batch, heads)).movedim(2, 1)
            y = y_inside.flatten(-2) @ project_out.mT
            last = {
                "position": state["position"] + x.shape[1],
                "recent.project_in": recent_project_in[:, x.shape[1] :],
                "recent.project_q": recent_project_q[:, x.shape[1] :],
            }
            state = {name: torch.unflatten(x, 0, (batch, heads)) for name, x in moved.items()} | last
            return y.to(dtype), state

    def _block(
        self, retention: Tensor, source: Tensor, rate: Tensor, q: Tensor, *, state: dict[str, Tensor], before: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The tokens up to where a period may end: what moves every so many tokens moves after them, if it does."""
        position = before + retention.shape[1]
        due = position % 16 == 0
        key_map_read = source @ state["key_map.held_16"].mT
        value_map_read = source @ state["value_map.held_16"].mT
        value = -rate[..., None] * ((torch.nn.functional.normalize(key_map_read, dim=-1) - value_map_read) @ state["key_map.held_16"].mT)
        erase = rate[..., None] * torch.nn.functional.normalize(key_map_read, dim=-1)
        key_map = self._key_map_in_chunks(
            decay=retention[..., None],
            key=torch.nn.functional.normalize(key_map_read, dim=-1),
            value=value,
            erase=erase,
            memory=state["key_map"],
        )
        value_ = -rate[..., None] * ((torch.nn.functional.normalize(key_map_read, dim=-1) - value_map_read) @ state["memory.held_16"].mT)
        erase_ = rate[..., None] * torch.nn.functional.normalize(key_map_read, dim=-1)
        memory_read, memory = self._memory_in_chunks(
            decay=retention[..., None],
            key=torch.nn.functional.normalize(key_map_read, dim=-1),
            value=value_,
            erase=erase_,
            query=q,
            memory=state["memory"],
        )
        value__ = -rate[..., None] * (
            (torch.nn.functional.normalize(key_map_read, dim=-1) - value_map_read) @ state["value_map.held_16"].mT
        )
        erase__ = rate[..., None] * torch.nn.functional.normalize(key_map_read, dim=-1)
        value_map = self._value_map_in_chunks(
            decay=retention[..., None],
            key=torch.nn.functional.normalize(key_map_read, dim=-1),
            value=value__,
            erase=erase__,
            memory=state["value_map"],
        )
        y_inside = torch.nn.functional.rms_norm(memory_read, (self.d_head,), eps=1e-06)
        state = {
            "key_map": key_map,
            "value_map": value_map,
            "memory": memory,
            "key_map.held_16": key_map if due else state["key_map.held_16"],
            "memory.held_16": memory if due else state["memory.held_16"],
            "value_map.held_16": value_map if due else state["value_map.held_16"],
        }
        return y_inside, state

    def _key_map_in_chunks(self, decay: Tensor, key: Tensor, value: Tensor, erase: Tensor, memory: Tensor) -> Tensor:
        """memory_t = decay_t memory_{t-1} + write_t key_t^T with write_t = value_t - memory_{t-1} erase_t, chunk by chunk.

        Streams are (copies, tokens, size), a scalar one with size 1.
        Inside a chunk the writes read one another:
            write_t + sum over s < t of decays (erase_t . key_s) write_s = value_t - decays memory erase_t
        """
        chunks = zip(*(_pieces(x, self.chunk) for x in (decay, key, value, erase)), strict=True)
        for decay, key, value, erase in chunks:
            products = _decay_products(decay)
            before = products[:, :-1]
            overlap = before[:, :, 1:] * (erase @ key.mT)
            write = _solve(overlap, torch.baddbmm(value, before[:, :, :1] * erase, memory.mT, alpha=-1))
            memory = products[:, -1:, :1] * memory
            memory = torch.baddbmm(memory, write.mT, products[:, -1, 1:, None] * key)
        return memory

    def _memory_in_chunks(
        self, decay: Tensor, key: Tensor, value: Tensor, erase: Tensor, query: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        """memory_t = decay_t memory_{t-1} + write_t key_t^T with write_t = value_t - memory_{t-1} erase_t, chunk by chunk.

        Streams are (copies, tokens, size), a scalar one with size 1.
        Inside a chunk the writes read one another:
            write_t + sum over s < t of decays (erase_t . key_s) write_s = value_t - decays memory erase_t
        """
        chunks = zip(*(_pieces(x, self.chunk) for x in (decay, key, value, erase, query)), strict=True)
        reads = []
        for decay, key, value, erase, query in chunks:
            products = _decay_products(decay)
            before = products[:, :-1]
            overlap = before[:, :, 1:] * (erase @ key.mT)
            write = _solve(overlap, torch.baddbmm(value, before[:, :, :1] * erase, memory.mT, alpha=-1))
            read = (before[:, :, :1] * query) @ memory.mT
            attention = before[:, :, 1:] * (query @ key.mT).tril(-1)
            read = torch.baddbmm(read, attention, write)
            reads.append(read)
            memory = products[:, -1:, :1] * memory
            memory = torch.baddbmm(memory, write.mT, products[:, -1, 1:, None] * key)
        return _joined(reads), memory

    def _value_map_in_chunks(self, decay: Tensor, key: Tensor, value: Tensor, erase: Tensor, memory: Tensor) -> Tensor:
        """memory_t = decay_t memory_{t-1} + write_t key_t^T with write_t = value_t - memory_{t-1} erase_t, chunk by chunk.

        Streams are (copies, tokens, size), a scalar one with size 1.
        Inside a chunk the writes read one another:
            write_t + sum over s < t of decays (erase_t . key_s) write_s = value_t - decays memory erase_t
        """
        chunks = zip(*(_pieces(x, self.chunk) for x in (decay, key, value, erase)), strict=True)
        for decay, key, value, erase in chunks:
            products = _decay_products(decay)
            before = products[:, :-1]
            overlap = before[:, :, 1:] * (erase @ key.mT)
            write = _solve(overlap, torch.baddbmm(value, before[:, :, :1] * erase, memory.mT, alpha=-1))
            memory = products[:, -1:, :1] * memory
            memory = torch.baddbmm(memory, write.mT, products[:, -1, 1:, None] * key)
        return memory

    def forward_by_token(self, *, x: Tensor, state: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """The laws, one token at a time: slow, and what `forward` must equal."""
        batch = x.shape[0]
        heads = self.heads
        state = self._start(state, batch, heads, x)
        outputs = [x.new_empty(batch, 0, self.d_model)]
        for t in range(x.shape[1]):
            y, state = self.step(x=x[:, t], state=state)
            outputs.append(y.unsqueeze(1))
        return torch.cat(outputs, 1), state

    def step(self, *, x: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """One token, for decoding: the laws as they stand; inputs without their time dim."""
        with _full_precision(x):
            dtype = x.dtype
            x = x.to(state["key_map"].dtype)
            project_q = self.project_q.to(state["key_map"].dtype)
            project_in = self.project_in.to(state["key_map"].dtype)
            project_out = self.project_out.to(state["key_map"].dtype)
            project_rate = self.project_rate.to(state["key_map"].dtype)
            project_retention = self.project_retention.to(state["key_map"].dtype)
            kernel_q = self.kernel_q.to(state["key_map"].dtype)
            kernel_in = self.kernel_in.to(state["key_map"].dtype)
            position = state["position"] + 1
            due = position % 16 == 0
            recent_project_in = torch.cat((state["recent.project_in"], (x @ project_in.mT).unsqueeze(-2)), -2)
            recent_project_q = torch.cat((state["recent.project_q"], (x @ project_q.mT).unsqueeze(-2)), -2)
            retention = (x @ project_retention.mT).sigmoid()
            rate = self.largest_rate * (x @ project_rate.mT).sigmoid()
            source = torch.unflatten((recent_project_in * kernel_in.flip(0)).sum(-2), -1, (self.heads, -1))
            q = torch.nn.functional.normalize(torch.unflatten((recent_project_q * kernel_q.flip(0)).sum(-2), -1, (self.heads, -1)), dim=-1)
            k = torch.nn.functional.normalize((state["key_map.held_16"] @ source[..., None]).squeeze(-1), dim=-1)
            prediction = (state["key_map"] @ k[..., None]).squeeze(-1)
            v = (state["value_map.held_16"] @ source[..., None]).squeeze(-1)
            surprise = (state["key_map.held_16"] @ (k - v)[..., None]).squeeze(-1) + prediction
            gradient = surprise[..., None] * k[..., None, :]
            key_map = retention[..., None, None] * state["key_map"] - rate[..., None, None] * gradient
            memory_k = torch.nn.functional.normalize((state["key_map.held_16"] @ source[..., None]).squeeze(-1), dim=-1)
            memory_prediction = (state["memory"] @ memory_k[..., None]).squeeze(-1)
            memory_v = (state["value_map.held_16"] @ source[..., None]).squeeze(-1)
            memory_surprise = (state["memory.held_16"] @ (memory_k - memory_v)[..., None]).squeeze(-1) + memory_prediction
            memory_gradient = memory_surprise[..., None] * memory_k[..., None, :]
            memory = retention[..., None, None] * state["memory"] - rate[..., None, None] * memory_gradient
            value_map_k = torch.nn.functional.normalize((state["key_map.held_16"] @ source[..., None]).squeeze(-1), dim=-1)
            value_map_prediction = (state["value_map"] @ value_map_k[..., None]).squeeze(-1)
            value_map_v = (state["value_map.held_16"] @ source[..., None]).squeeze(-1)
            value_map_surprise = (state["value_map.held_16"] @ (value_map_k - value_map_v)[..., None]).squeeze(-1) + value_map_prediction
            value_map_gradient = value_map_surprise[..., None] * value_map_k[..., None, :]
            value_map = retention[..., None, None] * state["value_map"] - rate[..., None, None] * value_map_gradient
            memory_read = (state["memory"] @ q[..., None]).squeeze(-1)
            y = torch.nn.functional.rms_norm(memory_read, (self.d_head,), eps=1e-06).flatten(-2) @ project_out.mT
            state = {
                "key_map": key_map,
                "value_map": value_map,
                "memory": memory,
                "key_map.held_16": torch.where(due, key_map, state["key_map.held_16"]),
                "memory.held_16": torch.where(due, memory, state["memory.held_16"]),
                "value_map.held_16": torch.where(due, value_map, state["value_map.held_16"]),
                "recent.project_in": recent_project_in[..., 1:, :],
                "recent.project_q": recent_project_q[..., 1:, :],
                "position": position,
            }
            return y.to(dtype), state

    def _start(self, state: dict[str, Tensor] | None, batch: int, heads: int, like: Tensor) -> dict[str, Tensor]:
        """The state to start from, never narrower than zeros would be."""
        zeros = self.initial_state(batch, heads, like=like)
        if state is None:
            return zeros
        return {name: state[name].to(torch.promote_types(state[name].dtype, zero.dtype)) for name, zero in zeros.items()}


def _full_precision(x: Tensor) -> torch.autocast:
    """No autocast inside: the state keeps its precision."""
    return torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False)


def _pieces(x: Tensor, chunk: int) -> tuple[Tensor, ...]:
    """(copies, tokens, size) -> chunks of tokens, the last one short: nothing is padded, and what is short is one chunk."""
    return torch.split(x, chunk, 1) if x.shape[1] > chunk else (x,)


def _joined(pieces: list[Tensor]) -> Tensor:
    """Chunks of (copies, tokens, size) -> all tokens."""
    return torch.cat(pieces, 1) if len(pieces) > 1 else pieces[0]


def _convolved(x: Tensor, kernel: Tensor) -> Tensor:
    """(batch, width - 1 + time, *axes, size) -> (batch, time, *axes, size): row j of the kernel times the value j tokens before."""
    width = kernel.shape[0]
    total = kernel[0] * x[:, width - 1 :]
    for tokens in range(1, width):
        total = total + kernel[tokens] * x[:, width - 1 - tokens : -tokens]
    return total


def _decay_products(decay: Tensor) -> Tensor:
    """(copies, n, 1) -> (copies, n + 1, n + 1): entry [t, s] is decay_{s+1} ... decay_t, row and column 0 the start of the chunk.

    It solves x_t = decay_t x_{t-1} + e_t, a bidiagonal system, by products alone: a decay of 0 is exact, in values and gradients.
    """
    identity = torch.eye(decay.shape[1] + 1, dtype=decay.dtype, device=decay.device)
    return _solve(nn.functional.pad(-decay * identity[:-1], (0, 0, 1, 0)), identity)


def _solve(below_diagonal: Tensor, right: Tensor) -> Tensor:
    """x with x_t = right_t - sum of below_diagonal[t, s] x_s over s < t; nothing else of the matrix is read."""
    solution: Tensor = torch.linalg.solve_triangular(below_diagonal, right, upper=False, unitriangular=True)
    return solution


def _block_lengths(before: int, tokens: int, time: int) -> list[int]:
    """The lengths of blocks that end at every multiple of `tokens`, counted from the start of the stream, and with the sequence."""
    ends = [*range(tokens - before % tokens, time, tokens), time]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)] if time else []


# sealed by nlc, sha256 of everything above: 606c6dd23879af25465737c9b652823821d377984ae8c3da5efdc1047cf23dc3
