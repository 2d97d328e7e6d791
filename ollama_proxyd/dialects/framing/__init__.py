"""What all dialects share: frames cut from byte streams, JSON bodies, base64, and the statuses of failures."""
