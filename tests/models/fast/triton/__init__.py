"""Kernels in Triton's interpreter."""

DROPPED = 0.3
"""Part of the attention weights that fall in the test of dropout."""
