"""Has anything changed that capture depends on? One query with one value, so that it can be asked often.

What a change means is for ``capture.report`` to say, which reads far more.
"""

from __future__ import annotations

from typing import Any

__all__ = ["digest"]

DIGEST = r"""
SELECT md5(string_agg(fact, ',' ORDER BY fact)) FROM (
    SELECT 'table ' || coalesce(to_regclass('dddp_table')::oid::text, '') AS fact
    UNION ALL SELECT concat_ws(' ', 'trigger', oid, tgenabled) FROM pg_trigger
        WHERE tgname LIKE 'dddp\_capture\_%' OR tgrelid = to_regclass('dddp_mark')
    UNION ALL SELECT concat_ws(' ', inhrelid, 'in', inhparent) FROM pg_inherits
) facts
"""


def digest(cursor: Any) -> str:
    """Of our triggers and the mark's, whether they are enabled, and which table is a part of which; only compared."""
    cursor.execute(DIGEST)
    return str(cursor.fetchone()[0])
