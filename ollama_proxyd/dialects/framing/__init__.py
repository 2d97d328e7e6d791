"""Cutting byte streams into whole frames."""
