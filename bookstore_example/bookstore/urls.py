"""The bookstore's one page."""

from __future__ import annotations

from django.urls import path

from bookstore.views import BookstoreView

app_name = "bookstore"
urlpatterns = [path("", BookstoreView.as_view(), name="index")]
