"""No pages: DDP only."""

from __future__ import annotations

urlpatterns: list[object] = []
