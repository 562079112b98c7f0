"""nlc, the Nested Learning Compiler: nested levels in YAML become readable, verified PyTorch."""
