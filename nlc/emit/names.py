"""Names of the spec -> names in the emitted code: the same words, unless the code needs the word itself."""

from __future__ import annotations

import builtins
import keyword
from collections.abc import Iterable, Sequence

MODULE_WORDS = frozenset({"torch", "nn", "math", "self", "annotations", "copy", "checkpoint"})
"""What a function of an emitted module may need besides its own variables; helpers begin with an underscore, as no spec's name does."""

PYTHON_WORDS = frozenset({*keyword.kwlist, *keyword.softkwlist, *dir(builtins)})

MODULE_ATTRIBUTES = frozenset(
    """
    add_module apply bfloat16 buffers call_super_init children checkpoint chunk compile cpu cuda double dump_patches eval extra_repr float
    forward forward_by_token get_buffer get_extra_state get_parameter get_submodule half initial_state ipu load_state_dict modules mtia
    named_buffers named_children named_modules named_parameters nonfinite parameters register_backward_hook register_buffer
    register_forward_hook register_forward_pre_hook register_full_backward_hook register_full_backward_pre_hook
    register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module register_parameter
    register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ set_extra_state set_submodule share_memory state_dict
    step to to_empty train training type xpu zero_grad
    """.split()
)
"""What `nn.Module` and the emitted class call their own attributes."""


UNCLEAR = frozenset({"l", "O", "I"})
"""Letters that look like digits."""


class LocalNames:
    """The variables of one function: every name is given once; a word that is taken gets an underscore."""

    def __init__(self, arguments: Iterable[str]) -> None:
        self._taken = {*arguments, *MODULE_WORDS, *PYTHON_WORDS}

    def new(self, word: str, owner: str = "") -> str:
        """A variable called after the word: its dots become underscores. When it is taken, the owner's name goes before it."""
        name = word.replace(".", "_")
        if owner and name in self._taken:
            name = f"{owner}_{word}".replace(".", "_")
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name

    def forget(self, name: str) -> None:
        """The variable is not needed any more: its name may be given again."""
        self._taken.discard(name)

    def letters(self, words: Sequence[str]) -> dict[str, str]:
        """What an element of each list is called inside one comprehension: the initials of its word, or as many letters as it takes."""
        found: dict[str, str] = {}
        for word in words:
            initials = "".join(part[:1] for part in word.split("_"))
            candidates = (initials, *(word[:length] for length in range(2, len(word))), f"one_{word}", f"one_{word}_")
            taken = {*self._taken, *UNCLEAR, *found.values()}
            found[word] = next(name for name in candidates if name not in taken)
        return found


def attribute(name: str) -> str:
    """`self.name` for a dim or a hyperparameter of a module."""
    return f"self.{name}_" if name in MODULE_ATTRIBUTES else f"self.{name}"
