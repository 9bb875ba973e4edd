"""The project's own WSGI application, as it is served beside DDP."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from django.apps import apps
from django.conf import settings
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.servers.basehttp import get_internal_wsgi_application

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

__all__ = ["wsgi_application"]


def wsgi_application() -> WSGIApplication:
    """``WSGI_APPLICATION``, or Django's default one; with ``DEBUG`` it serves static files too, as runserver does.

    Its views are loaded too: what is wrong with them stops the start, or a reload, instead of every request.

    Raises:
        ImproperlyConfigured: ``WSGI_APPLICATION`` cannot be imported.
        Exception: whatever loading the views raises.
    """
    application: WSGIApplication = get_internal_wsgi_application()
    views: str | None = getattr(settings, "ROOT_URLCONF", None)
    if views:
        import_module(views)
    if settings.DEBUG and apps.is_installed("django.contrib.staticfiles"):
        return StaticFilesHandler(application)  # type: ignore[arg-type]  # any WSGI application will do
    return application
