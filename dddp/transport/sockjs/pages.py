"""What a SockJS service says without a session: texts, and nothing else."""

from __future__ import annotations

import json
import secrets
from typing import Final

__all__ = ["GREETING", "NOT_FOUND", "iframe", "info"]

GREETING: Final = "Welcome to SockJS!\n"

NOT_FOUND: Final = "404 Error: Page not found\n"

IFRAME: Final = """\
<!DOCTYPE html>
<html>
<head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
  <script src="%s"></script>
  <script>
    document.domain = document.domain;
    SockJS.bootstrap_iframe();
  </script>
</head>
<body>
  <h2>Don't panic!</h2>
  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>
</body>
</html>"""


def iframe(client_url: str) -> str:
    """Return the page by which old browsers talk to another origin: its text is fixed by the protocol.

    Args:
        client_url: where it loads the SockJS client from.
    """
    return IFRAME % client_url


def info(websocket: bool, cookie: bool) -> str:
    """Return what a client asks for first: which transports there are, and randomness, new at every call."""
    return json.dumps(
        {
            "websocket": websocket,
            "origins": ["*:*"],  # no client looks at it; the headers decide
            "cookie_needed": cookie,
            "entropy": secrets.randbits(32),
        },
        separators=(",", ":"),
    )
