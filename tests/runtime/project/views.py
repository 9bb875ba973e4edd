"""Plain views beside DDP: one that reads, one that writes, one that takes its time."""

from __future__ import annotations

from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse

from tests.runtime.project import gates
from tests.runtime.project.models import Book


def titles(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"titles": sorted(Book.objects.values_list("title", flat=True))})


def add_book(request: HttpRequest) -> HttpResponse:
    with transaction.atomic():
        book = Book.objects.create(title=request.GET["title"])
    return JsonResponse({"id": book.pk})


def wait(request: HttpRequest) -> HttpResponse:
    gates.wait_at(request.GET["gate"])
    return HttpResponse("waited")
