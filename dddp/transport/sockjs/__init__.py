"""SockJS 0.3: a WebSocket for browsers that cannot have one, over whatever HTTP gets through.

What lives here carries messages of `dddp.transport.contract`, in both directions, for any application: nothing here
knows DDP, or the server that it is mounted in.
"""

from __future__ import annotations

from dddp.transport.sockjs.service import Options, Service

__all__ = ["Options", "Service"]
