"""The limits that the system sets on this process."""

import logging
import resource

log = logging.getLogger(__name__)

FILES_PER_REQUEST = 2
FILES_BESIDE = 100
"""For listening, logs, sensors and idle connections."""


def allow_many_files(max_in_flight: int) -> None:
    """Raise the soft limit of open files to the hard one, as setrlimit(2) allows; say so where that is too few.

    A desktop session often starts with 1024, which is fewer than 1024 requests need at two connections each.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError) as error:
            log.info("the limit of %d open files stays as it is: %s", soft, error)
    needed = max_in_flight * FILES_PER_REQUEST + FILES_BESIDE
    if soft != resource.RLIM_INFINITY and soft < needed:
        log.warning(
            "at most %d files may be open, and server.max_in_flight %d needs %d; lower it, or raise LimitNOFILE",
            soft,
            max_in_flight,
            needed,
        )
