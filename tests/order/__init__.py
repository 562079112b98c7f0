"""Tests of the order stage."""
