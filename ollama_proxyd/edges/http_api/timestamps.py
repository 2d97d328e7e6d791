"""The time now in the forms that dialects write it."""

import time
from datetime import UTC, datetime

_NS_PER_S = 1_000_000_000


def unix_s() -> int:
    """Whole seconds since 1970."""
    return int(time.time())


def rfc3339() -> str:
    """The time now, UTC, to the nanosecond."""
    seconds, nanoseconds = divmod(time.time_ns(), _NS_PER_S)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09d}Z"


def unix_of(moment: str | None) -> int | None:
    """Whole seconds since 1970 of an RFC 3339 moment; None where it is none, or one before 1970."""
    if moment is None:
        return None
    try:
        parsed = datetime.fromisoformat(_to_microseconds(moment))
    except ValueError:
        return None
    seconds = int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp())
    return seconds if seconds > 0 else None


def _to_microseconds(moment: str) -> str:
    """The moment with at most six digits after the point, which is what the parser takes."""
    whole, point, rest = moment.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    return f"{whole}{point}{digits[:6]}{rest[len(digits) :]}"
