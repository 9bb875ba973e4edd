"""Pages for clients to be put into: one without anything, and one with Meteor's."""

from __future__ import annotations

import json

from django.http import HttpRequest, HttpResponse
from django.urls import path

METEOR = ("meteor-client-side", "accounts-base-client-side", "accounts-password-client-side")


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse("<!doctype html><title>A client</title>")


def meteor(request: HttpRequest) -> HttpResponse:
    """Meteor's libraries, which must be there before the page is; ``ddp`` is where they connect."""
    config = {"DDP_DEFAULT_CONNECTION_URL": request.GET["ddp"], "meteorEnv": {"NODE_ENV": "production"}}
    code = f"__meteor_runtime_config__ = {json.dumps(config)}"
    scripts = [f'<script src="/static/modules/{name}/dist/{name}.bundle.js"></script>' for name in METEOR]
    return HttpResponse(f"<!doctype html><title>Meteor</title><script>{code}</script>{''.join(scripts)}")


urlpatterns = [path("", page), path("meteor/", meteor)]
