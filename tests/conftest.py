"""For all tests: one torch thread per worker, and hypothesis bounded and repeatable."""

import os

from hypothesis import settings

os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is first imported: workers share the cores
os.environ["MKL_NUM_THREADS"] = "1"

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=50)
settings.register_profile("thorough", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
