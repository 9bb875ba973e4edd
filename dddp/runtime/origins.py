"""Which web pages may connect: what the setting ``ORIGINS`` means for a request."""

from __future__ import annotations

from collections.abc import Callable

from django.utils.module_loading import import_string

from dddp.conf import Origins
from dddp.errors import ImproperlyDeclared
from dddp.transport.contract import Request

__all__ = ["accepting"]


def accepting(origins: Origins) -> Callable[[Request], bool] | None:
    """Return what tells whether a request's origin may connect, None where any may.

    Raises:
        ImproperlyDeclared: there is no function at a dotted path.
    """
    if isinstance(origins, str):
        return _imported(origins)
    if origins is None or callable(origins):
        return origins
    listed = frozenset(origins)
    return lambda request: request.origin is None or request.origin in listed  # without one it is no browser


def _imported(path: str) -> Callable[[Request], bool]:
    try:
        function = import_string(path)
    except ImportError as error:
        raise ImproperlyDeclared(f"settings.DDDP['ORIGINS']: {error}") from error
    if not callable(function):
        raise ImproperlyDeclared(f"settings.DDDP['ORIGINS']: {path} is no function")
    accepts: Callable[[Request], bool] = function
    return accepts
