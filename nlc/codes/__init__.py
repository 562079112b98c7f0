"""Every way a user's text can be wrong: one function per code, a file per stage (NLC1xx parse ... NLC7xx commands).

Each function takes the spans and the facts and returns the `Diagnostic`. Each file ends with a table `CODES` of the same codes
with a title and an explanation, from which docs/errors is printed.
"""
