"""The configuration: its shape, where it is found, and what changed in it."""
