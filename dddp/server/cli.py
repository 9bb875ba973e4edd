"""The command line: arguments in, a running worker or one line that says why not.

Runs after gevent's patches (``dddp.__main__``). What is printed to people lives here; the work is ``runtime``'s.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import django
import gevent
from django.conf import ENVIRONMENT_VARIABLE

import dddp
from dddp import conf
from dddp.server.address import DEFAULT_HOST, DEFAULT_PORT, Address, http_url, parse_address, websocket_url
from dddp.server.failure import CannotStart, sentence
from dddp.server.reload import inherits
from dddp.server.workers import AUTO, number_of_workers, supervise
from dddp.transport.server import listen

if TYPE_CHECKING:
    from dddp.runtime.worker import Worker

__all__ = ["main"]

LEVELS = (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)
"""Log level by verbosity, 0 to 3."""

TRACEBACK_FROM = 2
"""The verbosity from which a failed start shows its traceback too."""

EXIT_AT_ONCE = 130
"""The exit code after a second signal, as shells give it for Ctrl-C."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal stops it.

    Returns:
        The exit code: 0 after SIGINT or SIGTERM, 1 when it could not start.
    """
    options = parser().parse_args(argv)
    logging.basicConfig(
        level=LEVELS[options.verbosity], format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        return serve(options)
    except Exception as error:  # noqa: BLE001 - the outer edge: whatever it is, people get one line
        if options.verbosity >= TRACEBACK_FROM:
            traceback.print_exception(error)
        sys.stderr.write(f"dddp: {sentence(error)}\n")
        return 1


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(
        prog="dddp",
        description="Serve a Django project over HTTP and over DDP, the Meteor protocol, on the same port.",
    )
    arguments.add_argument(
        "addresses",
        metavar="address[:port]",
        nargs="*",
        help=f"where to listen, such as 8001, 0.0.0.0:8000 or [::1]:8000 ({DEFAULT_HOST}:{DEFAULT_PORT})",
    )
    arguments.add_argument(
        "--settings", help=f"the Django settings module; else {ENVIRONMENT_VARIABLE} names it"
    )
    arguments.add_argument(
        "--workers",
        default="1",
        help="processes that share the addresses: a number, or auto for one per processor (1)",
    )
    arguments.add_argument(
        "--check",
        action="store_true",
        help="load the project as the server would, and end: 0, or 1 and the reason",
    )
    arguments.add_argument(
        "-v",
        "--verbosity",
        type=int,
        choices=range(len(LEVELS)),
        default=1,
        help="0 errors, 1 warnings (default), 2 information, 3 everything",
    )
    arguments.add_argument("--version", action="version", version=f"dddp {dddp.__version__}")
    return arguments


def serve(options: argparse.Namespace) -> int:
    """Start, say where, and serve until a signal comes. Returns the exit code."""
    addresses = parse_addresses(options.addresses)
    count = parse_workers(options.workers)
    set_up_django(options.settings)
    from dddp.runtime.worker import Worker  # after set-up: it imports the project's models
    from dddp.server.application import wsgi_application

    settings, wsgi = conf.load(), wsgi_application()
    started = partial(announce, addresses, settings.url_prefix)
    if options.check:
        return 0
    if is_supervised(options.workers, count):
        make = partial(Worker, settings, wsgi)
        return supervise(make, settings, addresses, count, own_command(), started)
    worker = Worker(settings, wsgi)
    worker.start([opened for address in addresses for opened in listen(address)])
    stop_on_signals(worker)
    started()
    worker.serve_forever()
    return 0


def is_supervised(workers: str, count: int) -> bool:
    """Whether a supervisor runs the workers: those of before a reload too, however many ``auto`` is by now.

    With ``auto`` a single one has it as well: a unit file that sends SIGHUP fits every machine.
    """
    return count > 1 or workers == AUTO or inherits()


def own_command() -> list[str]:
    """What starts this process again, as new code."""
    return [sys.executable, "-m", "dddp", *sys.argv[1:]]


def parse_workers(text: str) -> int:
    try:
        return number_of_workers(text)
    except ValueError as error:
        raise CannotStart(str(error)) from error


def parse_addresses(texts: Sequence[str]) -> list[Address]:
    try:
        return [parse_address(text) for text in texts] or [(DEFAULT_HOST, DEFAULT_PORT)]
    except ValueError as error:
        raise CannotStart(str(error)) from error


def set_up_django(settings_module: str | None) -> None:
    """Load the project as ``manage.py`` would: the current folder is importable, the settings are named.

    Raises:
        CannotStart: no settings module is named, or it is not there.
    """
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    if settings_module:
        os.environ[ENVIRONMENT_VARIABLE] = settings_module
    name = os.environ.get(ENVIRONMENT_VARIABLE)
    if not name:
        raise CannotStart(f"which project? Give --settings mysite.settings or set {ENVIRONMENT_VARIABLE}")
    try:
        django.setup()
    except ModuleNotFoundError as error:
        if not error.name or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise CannotStart(
            f"there is no settings module {name!r} in {os.getcwd()} or on PYTHONPATH"
        ) from error


def stop_on_signals(worker: Worker) -> None:
    """SIGINT and SIGTERM stop in order, as said in ``SHUTDOWN_TIME_LIMIT``; a second one stops at once."""
    stopping = False

    def stop() -> None:
        nonlocal stopping
        if stopping:
            os._exit(EXIT_AT_ONCE)
        stopping = True
        sys.stderr.write("\nStopping; once more to stop at once.\n")
        worker.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, stop)


def announce(addresses: Sequence[Address], prefix: str) -> None:
    """Tell people where the server is and how to stop it."""
    version = f"dddp {dddp.__version__}, Django {django.get_version()}, {os.environ[ENVIRONMENT_VARIABLE]}"
    places = [f"  {http_url(address)}  DDP at {websocket_url(address, prefix)}" for address in addresses]
    print(version, *places, "Stop with Ctrl-C.", sep="\n", flush=True)
