"""How long a service wants to be left alone: Retry-After (RFC 9110, 10.2.3) and the headers of rate limits."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime

_REMAINING = re.compile(r"(?=.*rate-?limit)(.{0,40})remaining(.{0,40})")
"""x-ratelimit-remaining-tokens of OpenAI, anthropic-ratelimit-tokens-remaining, RateLimit-Remaining."""
_POLICY = re.compile(r"[;,\s](?:r|remaining)=0(?=[;,\s]).*?[;,\s](?:t|reset)=(\d{1,9})")
"""A limit that is used up in one field of all (draft-ietf-httpapi-ratelimit-headers)."""
_MOST_POLICY = 400
_LONGEST = 40
"""No moment and no duration has more characters."""

_NUMBER = re.compile(r"\d{1,13}(\.\d{1,9})?", re.ASCII)
_DURATION = re.compile(
    r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?(?:([\d.]{1,9})s)?(?:([\d.]{1,9})ms)?", re.ASCII
)
_UNITS_S = (86_400.0, 3_600.0, 60.0, 1.0, 0.001)
"""As OpenAI writes them: 6m0s, 1s, 120ms."""

LONGEST_S = 999_999.0
_EARLIEST_UNIX_S = 1e9
"""What is larger is a moment; the services do not agree on whether it is in seconds or milliseconds."""


def patience_s(headers: Mapping[str, str]) -> float | None:
    """For how long a refusal asks to be left alone, None where it does not say."""
    asked_ms = headers.get("Retry-After-Ms", "")
    if len(asked_ms) <= _LONGEST and _NUMBER.fullmatch(asked_ms):
        return float(asked_ms) / 1000
    asked_s = _seconds(headers.get("Retry-After", ""), headers)
    return rest_s(headers) if asked_s is None else asked_s


def rest_s(headers: Mapping[str, str]) -> float | None:
    """Until when a limit is used up that an answer tells of, from now; None where none is."""
    return max(_used_up(headers), default=None)


def _used_up(headers: Mapping[str, str]) -> Iterator[float]:
    for name, left in headers.items():
        if (kind := _REMAINING.fullmatch(name.lower())) is None or not left[:_LONGEST].strip().startswith(("0", "-")):
            continue
        is_none_left = False
        with suppress(ValueError):
            is_none_left = float(left[:_LONGEST]) <= 0
        until_s = _seconds(headers.get(f"{kind[1]}reset{kind[2]}", ""), headers)
        if is_none_left and until_s:
            yield until_s
    for each in _POLICY.finditer(f" {headers.get('RateLimit', '')[:_MOST_POLICY]} "):
        yield float(each[1])


def _seconds(told: str, headers: Mapping[str, str]) -> float | None:
    """The span of a text that is one, or ends at a moment; None where it is neither, or longer than any limit."""
    span_s = _span_s(told.strip(), headers) if len(told) <= _LONGEST else None
    return span_s if span_s is not None and span_s <= LONGEST_S else None


def _span_s(told: str, headers: Mapping[str, str]) -> float | None:
    if _NUMBER.fullmatch(told):
        number = float(told)
        return number if number < _EARLIEST_UNIX_S else _until(number, headers)
    if told and (parts := _DURATION.fullmatch(told)):
        with suppress(ValueError):
            return sum(float(part) * unit_s for part, unit_s in zip(parts.groups(), _UNITS_S, strict=True) if part)
        return None
    moment_s = _moment(told)
    return None if moment_s is None else _until(moment_s, headers)


def _until(unix: float, headers: Mapping[str, str]) -> float | None:
    """Seconds until a moment by the clock of the service itself."""
    now_s, moment_s = _moment(headers.get("Date", "")), unix if unix < _EARLIEST_UNIX_S * 100 else unix / 1000
    return None if now_s is None else max(moment_s - now_s, 0.0)


def _moment(date: str) -> float | None:
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        with suppress(ValueError, TypeError, OverflowError):
            return read(date[:_LONGEST]).timestamp()
    return None
