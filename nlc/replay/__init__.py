"""A certificate -> whether its proofs and counterexamples hold, by a checker that shares no code with the prover.

It reads JSON alone: expressions are evaluated modulo a prime of 61 bits at random places, counterexamples in exact fractions.
"""
