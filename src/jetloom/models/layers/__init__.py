"""Layers that architectures share, as the papers write them; kernels for them are in :mod:`jetloom.models.fast`."""
