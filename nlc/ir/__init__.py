"""The nouns: what each stage hands to the next, as frozen dataclasses. Imports no stage."""
