"""The interfaces that every D-Bus object has, and how an object describes itself by them."""

from collections.abc import Iterable, Mapping

from dbus_fast import DBusError, ErrorType, Message
from dbus_fast.introspection import Interface, Node

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
    return member


def describe(own: Interface | None, children: Iterable[str], *, is_manager: bool) -> str:
    """An object's introspection data."""
    node = Node.default()
    if not is_manager:
        node.interfaces = [each for each in node.interfaces if each.name != OBJECT_MANAGER]
    if own is not None:
        node.interfaces.append(own)
    node.nodes = [Node(child, is_root=False) for child in children]
    return node.tostring()
