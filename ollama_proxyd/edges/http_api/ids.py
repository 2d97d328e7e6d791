"""Names for requests and answers: unlike those of any other process, and cheap to make."""

import itertools
import secrets

_process = secrets.token_hex(5)
_number = itertools.count(1)


def new_id() -> str:
    """A name that this process has not given before and that another is most unlikely to give."""
    return f"{_process}{next(_number):06x}"
