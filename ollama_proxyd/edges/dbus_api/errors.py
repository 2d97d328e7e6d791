"""Refusals by their names on the bus; each text says what is allowed."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from dbus_fast import DBusError, ErrorType

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.modes import Mode, parse_mode
from ollama_proxyd.edges.dbus_api.contract import ROOT_NAME

UNKNOWN_MODE = f"{ROOT_NAME}.Error.UnknownMode"
UNKNOWN_BACKEND = f"{ROOT_NAME}.Error.UnknownBackend"
UNKNOWN_HARDWARE = f"{ROOT_NAME}.Error.UnknownHardware"
INVALID_ARGUMENT = f"{ROOT_NAME}.Error.InvalidArgument"
NOT_HOLDER = f"{ROOT_NAME}.Error.NotHolder"
TOO_MANY_HOLDS = f"{ROOT_NAME}.Error.TooManyHolds"

FAILED = ErrorType.FAILED.value


def read_mode(text: str) -> Mode:
    """The mode that a caller names."""
    try:
        return parse_mode(text)
    except ValueError as error:
        raise DBusError(UNKNOWN_MODE, str(error)) from None


def unknown(error_name: str, name: str, kind: str, known: Iterable[str]) -> DBusError:
    """There is no backend or device of this name."""
    allowed = ", ".join(known) or "none"
    return DBusError(error_name, f"{name!r} is not a {kind} here; the {kind}s are: {allowed}")


def invalid(message: str) -> DBusError:
    """An argument has a value that it must not have."""
    return DBusError(INVALID_ARGUMENT, message)


@contextmanager
def refused_as(names: Mapping[ErrorKind, str]) -> Iterator[None]:
    """Name what a service refuses: errors by their kinds, others by the general name."""
    try:
        yield
    except ProxyError as error:
        raise DBusError(names.get(error.kind, FAILED), error.message) from None
