"""Kinds of faults that are not mended yet; the list may only shrink, and a kind that is mended must leave it."""

WRONG_OR_LOST = frozenset(
    [
        "body_in_latin-1",
        "broken_utf8",
        "choices_number",
        "choices_string",
        "content_list",
        "content_number",
        "delta_string",
        "error_empty_later",
        "finish_number",
        "invalid_utf8_at_once",
        "invalid_utf8_later",
        "overlong_utf8",
        "raw_control_at_once",
        "raw_control_later",
        "two_objects_at_once",
        "two_objects_later",
    ]
)
"""Kinds of which some client still sees a wrong answer, or none."""

NOT_WHOLE = frozenset(
    [
        "choices_number",
        "choices_string",
        "content_list",
        "content_number",
        "delta_string",
        "error_empty_later",
        "invalid_utf8_at_once",
        "invalid_utf8_later",
        "raw_control_at_once",
        "raw_control_later",
        "two_objects_at_once",
        "two_objects_later",
    ]
)
"""Kinds that are harmless, or that a good second backend should make up for, and often are not whole."""
