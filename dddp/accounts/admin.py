"""Logins in Django's admin: to be seen, and ended."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.http import HttpRequest

from dddp.accounts.models import LoginToken

__all__ = ["LoginTokenAdmin"]


@admin.register(LoginToken)
class LoginTokenAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """A list; deleting a row disconnects whoever is logged in by it. Whoever may change users may do so."""

    list_display = ("user", "created", "expires")
    list_select_related = ("user",)
    date_hierarchy = "created"
    fields = ("user", "created", "expires")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        options = get_user_model()._meta
        return bool(request.user.has_perm(f"{options.app_label}.change_{options.model_name}"))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_view_permission(request)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
