"""Refusals by their names on the bus; each text says what is allowed."""

from collections.abc import Iterable

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


def unknown_backend(backend_id: str, known: Iterable[str]) -> DBusError:
    """No backend has this id."""
    allowed = ", ".join(known) or "none"
    return DBusError(UNKNOWN_BACKEND, f"{backend_id!r} is not a backend here; the backends are: {allowed}")


def unknown_hardware(name: str, known: Iterable[str]) -> DBusError:
    """No device has this id, and none is of this class."""
    allowed = ", ".join(known) or "none"
    return DBusError(UNKNOWN_HARDWARE, f"{name!r} is not a device here; the devices are: {allowed}")


def invalid(message: str) -> DBusError:
    """An argument has a value that it must not have."""
    return DBusError(INVALID_ARGUMENT, message)


def refusal(error: ProxyError, names: dict[ErrorKind, str]) -> DBusError:
    """What a service refused, under the name that its kind has here."""
    return DBusError(names.get(error.kind, FAILED), error.message)
