"""DDP without I/O: values, ids, messages, random ids and the session's state machine (ddp-wire 2 to 7).

Standard library and orjson only. Nothing in here knows sockets, clocks, Django or PostgreSQL.
"""
