"""Pure wire formats: bytes to requests, events to bytes, and back."""
