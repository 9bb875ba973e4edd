#!/usr/bin/env python
"""The bookstore's command line: ``manage.py migrate``, ``manage.py load_books``, ``manage.py dddp``."""

from __future__ import annotations

import os
import sys

import django
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bookstore_project.settings")
    try:
        django.setup()  # here, since some commands would go on without settings and fail where nobody looks
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"manage.py: {error}")


if __name__ == "__main__":
    main()
