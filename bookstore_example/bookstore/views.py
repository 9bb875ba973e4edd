"""The live page. It is served without data: books and authors arrive over DDP."""

from __future__ import annotations

from django.views.generic import TemplateView


class BookstoreView(TemplateView):
    template_name = "bookstore/index.html"
