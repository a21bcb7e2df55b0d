"""Passwords in addresses: they must not get into logs, results or tags."""

import re

from jetloom.errors import JetloomError

_USER = re.compile(r"(https?://|//[^/@\s:]*:)[^/\s]*@")
_QUERY = re.compile(r"(?i)([?&][^=&\s]*(?:pass|pwd|token|secret|key|auth|cred|sig)[^=&\s]*=)[^&\s]*")


def masked(text: str) -> str:
    """A URI, or a message that quotes one, without password (for http without user) and secret query values."""
    return _QUERY.sub(r"\1***", _USER.sub(r"\1***@", text))


def without_password(uri: str) -> str:
    """The address of an MLflow store as it is configured.

    Raises:
        JetloomError: it holds a password, which commands, logs and results would show.
    """
    if masked(uri) != uri:
        raise JetloomError(
            f"tracking.uri: {masked(uri)} holds a password; leave the key out and set the variable "
            "MLFLOW_TRACKING_URI, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        )
    return uri
