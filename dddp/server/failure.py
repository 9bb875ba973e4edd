"""Why the server does not start, in one line that says how to mend it. Turns errors into sentences, nothing else."""

from __future__ import annotations

import os
import sysconfig
import traceback
from collections.abc import Mapping
from typing import Any

import psycopg2
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.db import connections

import dddp
from dddp.errors import DDDPError, FeedUnavailable

__all__ = ["CannotStart", "sentence"]

LIBRARIES = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))
"""Folders whose code a developer would not mend."""


class CannotStart(DDDPError):
    """A cause that the command line found itself; the message is the sentence."""


def sentence(error: BaseException) -> str:
    """One line for whatever stopped the start."""
    return " ".join(_cause(error).split())


def _cause(error: BaseException) -> str:
    if isinstance(error, ImproperlyConfigured):
        return f"the Django settings are not right: {error}"
    if isinstance(error, FeedUnavailable | DatabaseError | psycopg2.Error):
        return f"{error} (see DATABASES in your settings: {_databases()})"
    if isinstance(error, DDDPError):
        return str(error)
    return f"{type(error).__name__}: {_text(error)}, {_place(error)}"


def _databases() -> str:
    """Which databases are meant; never a password."""
    return ", ".join(f"{alias!r} is {_described(wanted)}" for alias, wanted in connections.settings.items())


def _described(wanted: Mapping[str, Any]) -> str:
    """A database's name and place. What the settings leave open libpq takes from the environment."""
    name, engine = wanted["NAME"], wanted["ENGINE"]
    if engine.startswith("django.db.backends.") and not engine.endswith(".postgresql"):
        return f"{str(name)!r}, {engine.rpartition('.')[2]}"
    host = wanted["HOST"] or os.environ.get("PGHOST", "the local socket")
    return f"{name!r} at {host}, port {wanted['PORT'] or os.environ.get('PGPORT', 5432)}"


def _text(error: BaseException) -> str:
    return (error.msg if isinstance(error, SyntaxError) else str(error)) or "no message"


def _place(error: BaseException) -> str:
    """File and line in the project's own code, as near to the mistake as can be told."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_own(frame.filename)]
    frame = (own or list(frames))[-1]
    return f"{frame.filename}, line {frame.lineno}"


def _is_own(filename: str) -> bool:
    package = os.path.dirname(dddp.__file__)
    return not filename.startswith(("<", package + os.sep, *LIBRARIES))
