"""The project's own WSGI application, as it is served beside DDP."""

from __future__ import annotations

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

    Raises:
        ImproperlyConfigured: ``WSGI_APPLICATION`` cannot be imported.
    """
    application: WSGIApplication = get_internal_wsgi_application()
    if settings.DEBUG and apps.is_installed("django.contrib.staticfiles"):
        return StaticFilesHandler(application)  # type: ignore[arg-type]  # any WSGI application will do
    return application
