"""The interfaces that every D-Bus object has, and how an object describes itself by them."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from dbus_fast import DBusError, ErrorType, Message, Variant
from dbus_fast.introspection import Interface, Node

from ollama_proxyd.core.fields import LONGEST_TEXT

MOST_VALUES = 1000
"""Values in all arguments of a call together."""

INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"
OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"
PEER = "org.freedesktop.DBus.Peer"
PROPERTIES = "org.freedesktop.DBus.Properties"


def check_call(message: Message, signatures: Mapping[str, str]) -> str:
    """The method that is called; refuses one that there is not, and arguments of other types than it takes."""
    member = str(message.member)
    expected = signatures.get(member)
    if expected is None:
        there_is = ", ".join(signatures) or "none"
        raise DBusError(ErrorType.UNKNOWN_METHOD, f"there is no method {member} here; there is: {there_is}")
    if expected != message.signature:
        text = f"{member} takes arguments of the types ({expected}), not ({message.signature})"
        raise DBusError(ErrorType.INVALID_ARGS, text)
    _check_sizes(member, message.body)
    return member


def _check_sizes(member: str, arguments: Sequence[Any]) -> None:
    """Refuse long arguments before any work on them: the bus itself passes on a gigabyte."""
    seen, left = 0, list(arguments)
    while left and seen < MOST_VALUES:
        seen, value = seen + 1, left.pop()
        if isinstance(value, str | bytes):
            if len(value) > LONGEST_TEXT:
                text = f"an argument of {member} has {len(value)} characters; allowed are {LONGEST_TEXT}"
                raise DBusError(ErrorType.INVALID_ARGS, text)
        elif isinstance(value, Variant):
            left.append(value.value)
        elif isinstance(value, Mapping | list):
            inner = value if isinstance(value, list) else chain(value, value.values())
            left.extend(islice(inner, MOST_VALUES))
    if left:
        raise DBusError(ErrorType.INVALID_ARGS, f"the arguments of {member} have more than {MOST_VALUES} values")


def describe(own: Interface | None, children: Iterable[str], *, is_manager: bool) -> str:
    """An object's introspection data."""
    node = Node.default()
    if not is_manager:
        node.interfaces = [each for each in node.interfaces if each.name != OBJECT_MANAGER]
    if own is not None:
        node.interfaces.append(own)
    node.nodes = [Node(child, is_root=False) for child in children]
    return node.tostring()
