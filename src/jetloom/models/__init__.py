"""Every architecture behind one registry."""

from jetloom.models.published import load_published
from jetloom.models.registry import build

__all__ = ["build", "load_published"]
