"""The back office: a price changed in the list here changes on every open page."""

from __future__ import annotations

from django.contrib import admin

from bookstore.models import Author, Book


@admin.register(Author)
class AuthorAdmin(admin.ModelAdmin):
    list_display = ["name", "email", "born"]
    search_fields = ["name", "email"]


@admin.register(Book)
class BookAdmin(admin.ModelAdmin):
    list_display = ["title", "author", "published", "language", "price", "added"]
    list_editable = ["price"]
    list_filter = ["language", "added"]
    list_select_related = ["author"]
    search_fields = ["title", "author__name"]
    autocomplete_fields = ["author"]
    readonly_fields = ["added"]
