"""dddp: a standalone DDP server for Django, live over PostgreSQL LISTEN/NOTIFY.

Importing this package patches nothing and reads no settings. What users write against is in ``dddp.api``.
"""

from dddp.errors import MeteorError

__all__ = ["MeteorError"]
__version__ = "0.1.0"
