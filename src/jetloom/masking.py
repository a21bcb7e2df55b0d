"""Passwords in addresses: they must not get into logs, results or tags."""

import re

_USER = re.compile(r"(https?://|//[^/@\s:]*:)[^/\s]*@")
_QUERY = re.compile(r"(?i)([?&][^=&\s]*(?:pass|pwd|token|secret|key|auth|cred|sig)[^=&\s]*=)[^&\s]*")


def masked(text: str) -> str:
    """A URI, or a message that quotes one, without password (for http without user) and secret query values."""
    return _QUERY.sub(r"\1***", _USER.sub(r"\1***@", text))
