"""The one error for a service that cannot start."""

from __future__ import annotations


class StartupError(Exception):
    """The service cannot start as it is configured; the message is one sentence for an operator.

    The process prints it without a traceback and exits with code 1.
    """
