"""Which bundles the project's URLs lead to: what autoupdate and the system check need to know.

Looked up in the URLs themselves, so that nothing has to be registered, and a client that reconnects before anybody has
asked for a page is told all the same.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.urls import URLPattern, URLResolver, get_resolver

from dddp.meteor.bundle import BundleError
from dddp.views.meteor import MeteorView

__all__ = ["client_versions", "unreadable_bundles"]

logger = logging.getLogger(__name__)


def client_versions(app_id: str | None = None) -> dict[str, dict[str, Any]]:
    """The documents of autoupdate by their ids (ddp-wire 8.1), for a client that may say which app it is.

    Empty where nothing is served, and where several bundles are: a client does not tell which of them it came from,
    and would reload for ever if it were told of another.
    """
    served = served_views()
    if len(served) != 1:
        return {}
    ((view, prefix),) = served
    try:
        return view.client_versions(prefix.rstrip("/"), app_id) if view.autoupdate else {}
    except (BundleError, ImproperlyConfigured) as error:
        logger.warning("= no client is told of new versions: %s", error)
        return {}


def unreadable_bundles() -> Iterator[tuple[str, Exception]]:
    """The paths of apps that cannot be served, each with the reason."""
    for view, prefix in served_views():
        try:
            view.read_site()
        except (BundleError, ImproperlyConfigured) as error:
            yield prefix, error


def served_views() -> list[tuple[MeteorView, str]]:
    """The views that the project's URLs lead to, each with the beginning of its path; one at two URLs once."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    found = dict(_below("/", get_resolver().url_patterns))
    return [(view.view_class(**view.view_initkwargs), prefix) for view, prefix in found.items()]


def _below(prefix: str, patterns: Iterable[Any]) -> Iterator[tuple[Any, str]]:
    for entry in patterns:
        path = prefix + str(entry.pattern).lstrip("^")
        if isinstance(entry, URLResolver):
            yield from _below(path, entry.url_patterns)
        elif isinstance(entry, URLPattern) and _is_meteor(entry.callback):
            yield entry.callback, re.split(r"[(<]", path)[0]  # up to where it captures the rest


def _is_meteor(view: Any) -> bool:
    return issubclass(getattr(view, "view_class", object), MeteorView)
