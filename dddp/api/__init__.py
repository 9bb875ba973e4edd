"""What users import: collections, publications, methods, and the registry they are given to.

Importing it patches nothing and starts nothing: ``ddp.py`` files are imported by every program of the project, with
or without gevent.
"""

from dddp.api.collection import Collection, computed
from dddp.api.connection import Connection
from dddp.api.endpoints import APIMixin, api_endpoint
from dddp.api.method import Call, Method, method
from dddp.api.publication import Publication, publication
from dddp.api.random import random_id
from dddp.api.ratelimit import rate_limit
from dddp.api.registry import API
from dddp.errors import MeteorError
from dddp.protocol.messages import ABSENT

__all__ = [
    "ABSENT",
    "API",
    "APIMixin",
    "Call",
    "Collection",
    "Connection",
    "MeteorError",
    "Method",
    "Publication",
    "api_endpoint",
    "computed",
    "method",
    "publication",
    "random_id",
    "rate_limit",
]
