"""nlc, the Nested Learning Compiler: nested levels in YAML become readable, verified PyTorch.

>>> import nlc
>>> compiled = nlc.compile_file("specs/architectures/delta_rule.yaml", d_k=32)
>>> compiled.source          # the module's text
>>> compiled.load()          # the module, imported
>>> compiled.report()        # the evidence
"""

from nlc.diagnostics import CompileError
from nlc.pipeline import Compiled, compile_file
from nlc.version import VERSION as __version__

__all__ = ["CompileError", "Compiled", "__version__", "compile_file"]
