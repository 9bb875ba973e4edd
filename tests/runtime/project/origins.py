"""Who may connect where the setting ``ORIGINS`` names this function."""

from __future__ import annotations

from dddp.transport.contract import Request


def accepted(request: Request) -> bool:
    return request.origin != "https://evil.example"
