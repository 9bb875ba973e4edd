"""Pages for clients to be put into: one without anything, and two with Meteor's."""

from __future__ import annotations

import json

from django.http import HttpRequest, HttpResponse
from django.urls import path

OLD_METEOR = ("meteor-client-side-0.2/dist/meteor-client-side",)
METEOR = (
    "meteor-client-side/dist/meteor-client-side",
    "accounts-base-client-side/dist/accounts-base-client-side",
    "accounts-password-client-side/dist/accounts-password-client-side",
)


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse("<!doctype html><title>A client</title>")


def meteor(request: HttpRequest, libraries: tuple[str, ...]) -> HttpResponse:
    """Meteor's libraries, which must be there before the page is; ``ddp`` is where they connect."""
    config = {"DDP_DEFAULT_CONNECTION_URL": request.GET["ddp"], "meteorEnv": {"NODE_ENV": "production"}}
    code = f"__meteor_runtime_config__ = {json.dumps(config)}"
    scripts = [f'<script src="/static/modules/{name}.bundle.js"></script>' for name in libraries]
    return HttpResponse(f"<!doctype html><title>Meteor</title><script>{code}</script>{''.join(scripts)}")


urlpatterns = [
    path("", page),
    path("meteor/", meteor, {"libraries": METEOR}),
    path("old-meteor/", meteor, {"libraries": OLD_METEOR}),
]
