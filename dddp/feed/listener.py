"""The listening end of the feed: one greenlet, one connection of its own, events in the order of arrival.

Only that greenlet touches the connection; all others leave it requests. It needs no monkey patching. The law: a
notification is handed on before anything that was sent after it, and whoever asked to listen is answered only when
the LISTEN has been committed. After any interruption everything is listened to again, then a ``Gap`` is reported.

A network that goes silent tells nobody. So a connection that has said nothing for a while is asked, by a query that
writes nothing, takes no lock and wakes no other session (a NOTIFY would take the lock that all notifying commits
share, and slow commits would look like a dead connection): it is to say that it still listens.
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import gevent
import psycopg2
from gevent.event import AsyncResult, Event
from gevent.socket import wait_read
from psycopg2 import sql

from dddp.changes import FeedEvent, Gap, Mark, Table
from dddp.errors import FeedUnavailable
from dddp.feed.channels import process_channel, table_channel
from dddp.feed.cooperative import wait
from dddp.feed.envelope import Assembler
from dddp.feed.selftest import ENGINE, SESSION, check_engine, check_primary, pooled, silent

__all__ = ["Listener", "OnBatch"]

logger = logging.getLogger(__name__)

OnBatch: TypeAlias = Callable[[list[FeedEvent]], None]
"""Takes what one read from the connection brought, in order. Runs in the listener's greenlet: it must not wait for
anything that the feed has yet to bring."""

HEARTBEAT = 5.0  # seconds, see Listener
CONNECT_TIMEOUT = 10.0  # seconds
LISTEN_TIMEOUT = 10.0  # seconds; LISTEN waits for no lock, so this is a dead connection
NOTIFY_TIMEOUT = 30.0  # seconds; it commits behind all other notifying commits
RETRY_FIRST, RETRY_MOST = 0.1, 10.0  # seconds; doubled at each failure, with jitter
IDLE_CHECK = 1.0  # seconds between looks at a Gap that is owed while nothing arrives
QUEUE_INTERVAL = 60.0  # seconds between looks at the notification queue while notifications keep coming
QUEUE_WARNINGS = (0.1, 0.25, 0.5, 0.75, 0.9)  # shares of the queue; a full one fails every notifying commit
STOPPED = "the listener has been stopped: this process is ending"
READ = 1  # libev's EV_READ

KEEPALIVE: Mapping[str, int] = {
    # The kernel's own look, for while this process is too busy to ask: a server that vanished without a word is
    # noticed within 25 seconds (libpq's names; milliseconds in the last).
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
PING = "SELECT pg_notification_queue_usage(), {} IN (SELECT pg_listening_channels())"
HOLDING_UP = """
SELECT coalesce(string_agg(format('session %s (%s, in a transaction for %s s)', pid,
    coalesce(nullif(application_name, ''), 'no application name'), extract(epoch FROM now() - xact_start)::int), ', '),
    'no session in sight')
FROM (SELECT * FROM pg_stat_activity WHERE xact_start < now() - interval '5 s' AND backend_type = 'client backend'
      ORDER BY xact_start LIMIT 3) oldest
"""
OWN_TOKEN = "~"


class Listener:
    """Listens to the tables somebody needs, and reports what their changes are.

    Args:
        parameters: of ``psycopg2.connect``: a dsn, or keywords.
        process_id: of this process, unlike all others'; its channel is ``dddp.@<process_id>``.
        on_batch: takes the events.
        heartbeat: seconds of silence after which the connection is asked for a sign of life, and seconds it then has to
            answer: its death is noticed within twice as much.
    """

    def __init__(
        self,
        parameters: str | Mapping[str, Any],
        process_id: str,
        on_batch: OnBatch,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        self.channel = process_channel(process_id)
        self.connected = False
        self.queue_usage = 0.0  #: how full PostgreSQL's notification queue was when last looked at: 0 to 1
        self._heartbeat = heartbeat
        #: When the connection said something, and when it was asked about the queue.
        self._heard = self._looked = time.monotonic()
        self._parameters = {"dsn": parameters} if isinstance(parameters, str) else dict(parameters)
        self._parameters |= {**KEEPALIVE, "application_name": f"dddp {process_id}"}
        self._on_batch = on_batch
        self._assembler = Assembler(time.monotonic)
        self._wanted: Counter[str] = Counter()  # channel -> how many times listen was called for it
        self._waiting: list[AsyncResult[None]] = []  # one for each call of listen not yet answered
        self._listening: frozenset[str] = frozenset()  # channels whose LISTEN is committed
        self._token_sent = False  # one of our own tokens is on its way
        self._wake = Event()  # the connection is readable, or what is wanted has changed
        self._greenlet: gevent.Greenlet[..., None] | None = None
        self._pgconn: Any = None
        self._readable: Any = None  # the event loop's watcher of the connection's socket
        self._stopping = False

    # ------------------------------------------------------------------------------------- called by any greenlet

    def start(self) -> None:
        """Connect, listen to the process's channel and keep listening, in a greenlet of its own.

        Raises:
            FeedUnavailable: the first connection failed. (Later ones are tried again for ever.)
        """
        started: AsyncResult[None] = AsyncResult()
        self._greenlet = gevent.spawn(self._run, started)
        self._greenlet.link_exception(started)
        started.get()

    def stop(self) -> None:
        """Close the connection; whoever waits in ``listen`` gets FeedUnavailable."""
        self._stopping = True
        self._wake.set()
        if self._greenlet is not None:
            self._greenlet.kill()
            self._greenlet = None
        self._disconnect()
        self._answer(FeedUnavailable(STOPPED))

    def listen(self, tables: Iterable[Table], timeout: float | None = None) -> None:
        """Need these tables once more. Returns when every change committed from now on will be reported.

        Each call is undone by one ``unlisten`` with the same tables, also after an error.

        Raises:
            FeedUnavailable: the connection did not come (back) within ``timeout`` seconds, or the listener stopped.
        """
        self._wanted.update({table_channel(table) for table in tables})
        if self._stopping:
            raise FeedUnavailable(STOPPED)
        if self.connected and self._wanted.keys() <= self._listening:
            return
        answer: AsyncResult[None] = AsyncResult()
        self._waiting.append(answer)
        self._wake.set()
        try:
            answer.get(timeout=timeout)
        except gevent.Timeout:
            raise FeedUnavailable(f"no LISTEN within {timeout} seconds: is PostgreSQL reachable?") from None

    def unlisten(self, tables: Iterable[Table]) -> None:
        """Need these tables once less. Does not wait."""
        self._wanted.subtract({table_channel(table) for table in tables})
        self._wanted = +self._wanted
        self._wake.set()

    # --------------------------------------------------------------------------------- the listener's own greenlet

    def _run(self, started: AsyncResult[None]) -> None:
        try:
            self._connect()
        except (psycopg2.Error, FeedUnavailable) as error:
            self._disconnect()
            started.set_exception(FeedUnavailable(f"cannot LISTEN on the database: {_sentence(error)}"))
            return
        started.set(None)
        while not self._stopping:
            reason = self._report_until_lost()
            logger.warning("! the change feed is interrupted: %s", reason)
            self._reconnect(reason)

    def _report_until_lost(self) -> str:
        """Report events until the connection is lost; returns why."""
        try:
            while True:
                self._step()
        except psycopg2.Error as error:
            return _sentence(error)
        except Exception as error:
            # What the events did is unknown now; the Gap after reconnecting has everything read again.
            logger.exception("! an event of the change feed was not handled")
            return f"{type(error).__name__} while handling an event"
        finally:
            self.connected = False

    def _step(self) -> None:
        self._pgconn.poll()
        if self._next_ping <= time.monotonic():
            self._ping()
        elif self._pgconn.notifies:
            self._hand_on_notifications()
        elif self._waiting or self._wanted_channels() != self._listening:
            self._follow_wanted()
        else:
            self._wait()
            self._report(self._assembler.pay_gap())

    def _reconnect(self, reason: str) -> None:
        delay = RETRY_FIRST
        while not self._stopping:
            self._disconnect()
            gevent.sleep(delay * random.uniform(0.5, 1.5))
            delay = min(2 * delay, RETRY_MOST)
            try:
                self._connect()
                self._report([Gap(reason)])
            except (psycopg2.Error, FeedUnavailable) as error:
                logger.warning("! no connection for the change feed yet: %s", _sentence(error))
            except Exception:
                logger.exception("! the gap in the change feed was not handled")
            else:
                logger.info("= the change feed is back")
                return

    def _connect(self) -> None:
        """A new connection that listens to all that is wanted. What it brings before that is left to the Gap.

        Raises:
            psycopg2.Error: there is none to be had.
            FeedUnavailable: LISTEN does not work on it, for the reason given.
        """
        self._pgconn = self._new_connection()
        self._readable = gevent.get_hub().loop.io(self._pgconn.fileno(), READ)
        check_engine(self._ask(ENGINE)[0])
        in_recovery, pid = self._ask(SESSION)
        check_primary(in_recovery)
        wanted = self._wanted_channels()
        self._execute("LISTEN {}", wanted)
        if pid != self._pgconn.info.backend_pid:
            self._check_pooler(pid)
        self._check_round_trip()
        del self._pgconn.notifies[:]
        self._assembler.reset()
        self._assembler.listen_to(wanted)
        self._listening = wanted
        self._token_sent = False
        self.connected = True

    def _new_connection(self) -> Any:
        pgconn = psycopg2.connect(**self._parameters, async_=1)
        wait(pgconn, CONNECT_TIMEOUT)
        return pgconn

    def _check_pooler(self, pid: int) -> None:
        """Who greeted us is not the session that answered: something in between, which may pool sessions or not.

        A second connection in a transaction holds a session. If that is ours, or we get another now, they are pooled.
        """
        second = self._new_connection()
        try:
            (its,) = _answer_of(second, "BEGIN; SELECT pg_backend_pid()", LISTEN_TIMEOUT)
            if its == pid or not self._still_listens():
                raise pooled(self._place)
        finally:
            second.close()

    def _check_round_trip(self) -> None:
        """See our own notification come back."""
        self._send_own_token()
        deadline = time.monotonic() + LISTEN_TIMEOUT
        while all(each.payload != OWN_TOKEN for each in self._pgconn.notifies):
            wait_read(self._pgconn.fileno(), deadline - time.monotonic(), silent(self._place, LISTEN_TIMEOUT))
            self._pgconn.poll()

    @property
    def _place(self) -> str:
        return f"{self._pgconn.info.host}:{self._pgconn.info.port}"

    def _disconnect(self) -> None:
        self.connected = False
        self._listening = frozenset()
        readable, self._readable = self._readable, None
        if readable is not None:
            readable.close()
        pgconn, self._pgconn = self._pgconn, None
        if pgconn is not None:
            pgconn.close()

    def _wait(self) -> None:
        """Until there is something to do."""
        self._readable.start(self._wake.set)
        try:
            patience = max(0.0, self._next_ping - time.monotonic())
            self._wake.wait(min(patience, IDLE_CHECK) if self._assembler.owes_gap else patience)
        finally:
            self._readable.stop()
        self._wake.clear()

    @property
    def _next_ping(self) -> float:
        return min(self._heard + self._heartbeat, self._looked + QUEUE_INTERVAL)

    def _ping(self) -> None:
        """Have the connection show that it lives and listens, and look at the queue on the occasion.

        Raises:
            psycopg2.Error: it does not.
        """
        if not self._still_listens():
            raise psycopg2.OperationalError("the session does not listen any more: a pooler has changed it")
        self._looked = time.monotonic()

    def _still_listens(self) -> bool:
        ping = sql.SQL(PING).format(sql.Literal(self.channel))
        usage, listens = self._ask(ping, self._heartbeat)
        self._watch_queue(float(usage))
        return bool(listens)

    def _watch_queue(self, usage: float) -> None:
        """Warn at each further step: a full queue makes every notifying commit fail."""
        passed = [step for step in QUEUE_WARNINGS if self.queue_usage < step <= usage]
        self.queue_usage = usage
        if passed:
            logger.warning(
                "! PostgreSQL's notification queue is %.0f %% full; when it is full every commit that notifies fails. "
                "It is kept by a session that listens and does not end its transaction; the oldest are: %s. "
                "End it with pg_terminate_backend(pid)",
                100 * usage,
                self._ask(HOLDING_UP)[0],
            )

    def _wanted_channels(self) -> frozenset[str]:
        return frozenset({self.channel, *self._wanted})

    def _follow_wanted(self) -> None:
        """LISTEN and UNLISTEN as wanted, and answer those who waited for it."""
        wanted, answers = self._wanted_channels(), list(self._waiting)
        before, self._listening = self._listening, self._listening & wanted
        # Until the change is over a transaction may have sent to the old channels or to the new: expect both. An end
        # that does not come after all is what the token is for.
        self._assembler.listen_to(wanted | before)
        self._execute("LISTEN {}", wanted - before)
        self._execute("UNLISTEN {}", before - wanted)
        self._hand_on_notifications()
        self._listening = wanted
        self._report(self._assembler.listen_to(wanted))
        self._waiting = self._waiting[len(answers) :]
        for answer in answers:
            answer.set(None)

    def _hand_on_notifications(self) -> None:
        self._heard = time.monotonic()
        arrived = self._pgconn.notifies[:]
        del self._pgconn.notifies[:]
        events: list[FeedEvent] = []
        for notification in arrived:
            events += self._assembler.receive(notification.channel, notification.payload)
        if Mark(OWN_TOKEN) in events:
            self._token_sent = False
            events = [event for event in events if event != Mark(OWN_TOKEN)]
        self._report(events)
        if self._assembler.open and not self._token_sent:
            self._send_own_token()

    def _report(self, events: list[FeedEvent]) -> None:
        if events:
            self._on_batch(events)

    def _send_own_token(self) -> None:
        """Have a token close what is open, should its end not come: our LISTEN began or ended in its middle."""
        self._token_sent = True
        self._execute(f"NOTIFY {{}}, '{OWN_TOKEN}'", [self.channel], NOTIFY_TIMEOUT)

    def _execute(self, statement: str, channels: Iterable[str], timeout: float = LISTEN_TIMEOUT) -> None:
        """Run the statement for each channel, in one round trip."""
        statements = [sql.SQL(statement).format(sql.Identifier(channel)) for channel in sorted(channels)]
        if statements:
            _run(self._pgconn, sql.SQL(";").join(statements), timeout)
            self._heard = time.monotonic()

    def _ask(self, query: str | sql.Composed, timeout: float = LISTEN_TIMEOUT) -> tuple[Any, ...]:
        """The one row that answers the query."""
        row = _answer_of(self._pgconn, query, timeout)
        self._heard = time.monotonic()
        return row

    def _answer(self, error: FeedUnavailable) -> None:
        waiting, self._waiting = self._waiting, []
        for answer in waiting:
            answer.set_exception(error)


def _run(pgconn: Any, statement: str | sql.Composed, timeout: float) -> Any:
    """The cursor, when the statement is over."""
    # psycopg2 holds its asynchronous cursor by a weak reference only: it has to outlive the wait.
    cursor = pgconn.cursor()
    cursor.execute(statement)
    wait(pgconn, timeout)
    # The notifications that came with the answer are in libpq's hands only.
    pgconn.poll()
    return cursor


def _answer_of(pgconn: Any, query: str | sql.Composed, timeout: float) -> tuple[Any, ...]:
    row: tuple[Any, ...] = _run(pgconn, query, timeout).fetchone()
    return row


def _sentence(error: Exception) -> str:
    return str(error).strip() or type(error).__name__
