"""Which browsers run what Meteor builds for modern ones, by their user agent.

Meteor asks for less, by rules that grow with each of its packages. These are stricter, so they stay right: a browser
that is taken for an old one gets the legacy program, which runs everywhere.
"""

from __future__ import annotations

import re

__all__ = ["is_modern"]

MODERN = (
    (r"Electron", (8,)),
    (r"OPR", (67,)),
    (r"Edge?|EdgA", (80,)),
    (r"CriOS|(?:Headless)?Chrome|Chromium", (80,)),
    (r"Firefox", (72,)),
    (r"Version", (13, 1)),  # Safari's, of which each of the others claims to be one
)
"""The name before the slash and the least version, of early 2020; the first name that is found decides."""


def is_modern(user_agent: str) -> bool:
    """Tell whether a browser gets ``web.browser`` rather than ``web.browser.legacy``."""
    for name, least in MODERN:
        found = re.search(rf"\b(?:{name})/(\d{{1,4}})(?:\.(\d{{1,4}}))?", user_agent)
        if found and (name != "Version" or "Safari/" in user_agent):
            return (int(found[1]), int(found[2] or 0)) >= least
    return False
