"""A user model that has little in common with Django's: an address for a name, a UUID for a key, one name."""

from __future__ import annotations

import uuid

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models


class Person(AbstractBaseUser):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    address = models.EmailField(unique=True)
    name = models.CharField(max_length=100, blank=True)

    objects = BaseUserManager()

    USERNAME_FIELD = "address"
    EMAIL_FIELD = "address"
