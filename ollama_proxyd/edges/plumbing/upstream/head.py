"""The heads of HTTP/1.1 messages: of requests as they are sent, of answers as they are taken."""

from collections.abc import Mapping

from multidict import CIMultiDict
from yarl import URL

from ollama_proxyd.edges.plumbing.call import MOST_HEADER_BYTES, OWN_HEADERS

MOST_HEADERS = 500
_BODILESS = frozenset({"GET", "HEAD", "DELETE"})

Field = tuple[bytes, bytes]


class NotHttpError(Exception):
    """What came is no answer of HTTP/1.1."""


def request_head(method: str, url: URL, headers: Mapping[str, str], size_bytes: int, *, keeps: bool) -> bytes:
    """The head of a request whose body has this size; raises ValueError for one that would not stay one."""
    target = url.raw_path_qs
    lines = [f"{method} {target} HTTP/1.1", f"Host: {url.host_port_subcomponent}"]
    lines += [f"{name}: {value}" for name, value in {**OWN_HEADERS, **headers}.items()]
    if size_bytes or method not in _BODILESS:
        lines.append(f"Content-Length: {size_bytes}")
    if not keeps:
        lines.append("Connection: close")
    head = "\r\n".join(lines)
    ends = len(lines) - 1
    if " " in target or "\0" in head or head.count("\r") != ends or head.count("\n") != ends:
        raise ValueError("a line end or a blank in the head of a request")
    return f"{head}\r\n\r\n".encode()


def too_much(headers: int) -> NotHttpError:
    """What is wrong with the next header after so many: it is one too many, or too large."""
    if headers >= MOST_HEADERS:
        return NotHttpError(f"more than {MOST_HEADERS} headers")
    return NotHttpError(f"a header of more than {MOST_HEADER_BYTES} bytes")


def headers_of(fields: list[Field]) -> CIMultiDict[str]:
    """The headers as text; bytes that are no UTF-8 stay recognizable."""
    return CIMultiDict(
        [(name.decode("ascii"), value.decode("utf-8", "surrogateescape").strip(" \t")) for name, value in fields]
    )


def is_framed(status: int, version: str, headers: CIMultiDict[str]) -> bool:
    """Whether an answer tells where it ends, rather than by closing the connection (RFC 9112, section 6.3).

    The parser refuses lengths that contradict each other, a length beside chunks, folded lines and bare line feeds.
    Raises NotHttpError for what it lets pass: another transfer coding, versions that are not ours, odd statuses.
    """
    if status == 101:
        raise NotHttpError("it switched protocols without being asked to")
    if version not in {"1.1", "1.0"} or status < 100:
        raise NotHttpError(f"HTTP/{version} with status {status}")
    if (codings := headers.getall("Transfer-Encoding", None)) is not None:
        if version == "1.0" or [each.lower() for each in codings] != ["chunked"]:
            raise NotHttpError("a transfer coding other than chunked")
        return True
    return "Content-Length" in headers or status in {204, 304}
