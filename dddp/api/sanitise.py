"""What an exception becomes on its way to a client (ddp-wire 5.6); the traceback never leaves the server."""

from __future__ import annotations

from django.core.exceptions import NON_FIELD_ERRORS, ObjectDoesNotExist, PermissionDenied, ValidationError
from django.db import DataError
from django.http import Http404

from dddp.errors import FeedUnavailable, MeteorError
from dddp.orm.failures import is_away, is_overtime
from dddp.orm.reads import ReadFailed

__all__ = ["is_internal", "is_unavailable", "sanitise"]

BUT_GOT = " but got "
NO_NUMBER = " expected a number" + BUT_GOT
EXPECTED = (MeteorError, ValidationError, PermissionDenied, ObjectDoesNotExist, Http404)


def is_internal(exception: BaseException) -> bool:
    """Whether the client is told nothing of this exception: the caller logs the traceback, once."""
    return not (isinstance(exception, EXPECTED) or is_unstorable(exception) or is_no_number(exception))


def is_unavailable(exception: BaseException) -> bool:
    """Whether the database was away, whatever was asked of it."""
    failure = _cause(exception)
    return is_away(failure) or isinstance(failure, FeedUnavailable)


def _cause(exception: BaseException) -> BaseException:
    return exception.cause if isinstance(exception, ReadFailed) else exception


def is_unstorable(exception: BaseException) -> bool:
    """Whether a text was not stored or compared because PostgreSQL cannot hold it, though JavaScript can.

    These are NUL characters and halves of surrogate pairs, which only a client's own text brings in.
    """
    if isinstance(exception, UnicodeEncodeError):
        return exception.reason == "surrogates not allowed"
    if isinstance(exception, DataError):
        return "\\u0000 cannot be converted to text" in str(exception) or "surrogate" in str(exception)
    return isinstance(exception, ValueError) and "NUL (0x00)" in str(exception)


def is_no_number(exception: BaseException) -> bool:
    """Whether a number field was given something else, as by ``get(pk=book_id)`` for an id that a client made up.

    It is a plain ``ValueError``, where other fields raise ``ValidationError``: only Django's words tell it.
    """
    return isinstance(exception, ValueError) and NO_NUMBER in str(exception)


def sanitise(exception: BaseException) -> MeteorError:
    """The error to send for an exception that a method, a publication or a callback raised."""
    if isinstance(exception, MeteorError):
        return exception
    if isinstance(exception, ValidationError):
        return _invalid(exception)
    if isinstance(exception, PermissionDenied):
        return MeteorError(403, str(exception) or "Permission denied")
    if isinstance(exception, ObjectDoesNotExist | Http404):
        return MeteorError(404, str(exception) or "Not found")
    if is_unstorable(exception):
        return MeteorError(400, "A text with NUL characters or halves of surrogate pairs cannot be stored")
    if is_no_number(exception):
        return MeteorError(400, str(exception).partition(BUT_GOT)[0])
    if is_unavailable(exception):
        return MeteorError(503, "The database cannot be reached; try again later")
    if is_overtime(_cause(exception)):
        return MeteorError(503, "The database took too long; try again later, or ask for less")
    return MeteorError(500, "Internal server error")


def _invalid(exception: ValidationError) -> MeteorError:
    """400, with the messages by field, those of no field under Django's ``__all__``."""
    if hasattr(exception, "error_dict"):
        details = {field: [str(text) for text in texts] for field, texts in exception.message_dict.items()}
    else:
        details = {NON_FIELD_ERRORS: [str(text) for text in exception.messages]}
    return MeteorError(400, " ".join(_sentence(*item) for item in details.items()), details)


def _sentence(field: str, messages: list[str]) -> str:
    text = " ".join(messages)
    return text if field == NON_FIELD_ERRORS else f"{field}: {text}"
