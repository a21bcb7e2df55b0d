"""Every architecture behind one registry."""

from jetloom.models.registry import build, load_published

__all__ = ["build", "load_published"]
