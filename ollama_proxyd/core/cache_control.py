"""What a client says of caches."""

from ollama_proxyd.core.values import value


@value
class CacheControl:
    """What a client says of caches (RFC 9111, 5.2.1): whether its answer may come from one, or be kept there."""

    may_take: bool = True
    may_keep: bool = True
    max_age_s: float | None = None


NO_WISH = CacheControl()
