"""Addresses as people write them: ``8000``, ``:8000``, ``host``, ``0.0.0.0:8000``, ``[::1]:8000``."""

from __future__ import annotations

from dddp.transport.server import Address

__all__ = ["DEFAULT_HOST", "DEFAULT_PORT", "Address", "http_url", "parse_address", "websocket_url"]

DEFAULT_HOST = "localhost"  # as runserver: what other machines may reach is asked for, never given
DEFAULT_PORT = 8000


def parse_address(text: str) -> Address:
    """Read ``[host][:port]``; what is left out is ``localhost`` and 8000. Digits alone are a port.

    Raises:
        ValueError: not an address; the message says why.
    """
    if text.isdecimal():
        return DEFAULT_HOST, _port(text, text)
    host, port = _split(text)
    return host or DEFAULT_HOST, _port(port, text) if port else DEFAULT_PORT


def _split(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise ValueError(f"{text!r} is not an address; write IPv6 like [::1]:8000")
        return host, port[1:]
    if text.count(":") > 1:
        raise ValueError(f"{text!r} is not an address; put IPv6 into brackets, like [::1]:8000")
    host, _, port = text.partition(":")
    if "/" in host or any(character.isspace() for character in host):
        raise ValueError(f"{text!r} is not an address; write host:port, like localhost:8000")
    return host, port


def _port(text: str, address: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 65536):
        raise ValueError(f"{address!r} is not an address; its port is not a number from 1 to 65535")
    return int(text)


def http_url(address: Address) -> str:
    """Where a browser finds a server that listens there."""
    return f"http://{_authority(address)}/"


def websocket_url(address: Address, prefix: str = "") -> str:
    """Where a DDP client finds it; ``prefix`` is the setting ``URL_PREFIX``."""
    return f"ws://{_authority(address)}{prefix}/websocket"


def _authority(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
