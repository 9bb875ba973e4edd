"""The project as a WSGI application; the ``dddp`` server serves it beside DDP."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bookstore_project.settings")

application = get_wsgi_application()
