"""The headers of HTTP that carry hints, the same at every door."""

from collections.abc import Mapping

HEADERS: Mapping[str, str] = {
    "target": "X-Target-Backend",
    "latency_critical": "X-Latency-Critical",
    "power_efficient": "X-Power-Efficient",
    "max_latency_ms": "X-Max-Latency-Ms",
    "max_power_watts": "X-Max-Power-Watts",
    "priority": "X-Priority",
    "media_type": "X-Media-Type",
    "deadline_ms": "X-Deadline-Ms",
    "strict_limits": "X-Strict-Limits",
    "include_energy": "X-Include-Energy",
    "defer": "X-Defer",
    "defer_max_wait_seconds": "X-Defer-Max-Wait",
}
"""By the field of Hints; errors name the header."""

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
"""W3C's Trace Context."""
FIELD_OF: Mapping[str, str] = {header.lower(): field for field, header in HEADERS.items()}
