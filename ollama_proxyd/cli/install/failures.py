"""What cannot be installed or removed."""


class InstallError(Exception):
    """Nothing was changed, or it was put back; the message says why, and what to do."""
