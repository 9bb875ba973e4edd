"""Sockets: WebSocket and HTTP on gevent. What lives here moves texts; it knows nothing of DDP."""

from __future__ import annotations

from dddp.transport.contract import Application, Batch, Channel, Receiver, Request
from dddp.transport.server import CannotListen, Server, listen, serve
from dddp.transport.websocket import Limits

__all__ = [
    "Application",
    "Batch",
    "CannotListen",
    "Channel",
    "Limits",
    "Receiver",
    "Request",
    "Server",
    "listen",
    "serve",
]
