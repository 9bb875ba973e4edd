"""The project's pages."""

from __future__ import annotations

from django.urls import path

from tests.runtime.project import views

urlpatterns = [
    path("titles/", views.titles),
    path("add-book/", views.add_book),
    path("wait/", views.wait),
]
