"""The page at ``/``, Django's admin at ``/admin/``; while ``DEBUG`` is on, static files too."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import include, path

urlpatterns = [
    path("", include("bookstore.urls")),
    path("admin/", admin.site.urls),
    *staticfiles_urlpatterns(),
]
