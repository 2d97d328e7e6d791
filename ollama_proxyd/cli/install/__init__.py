"""Puts the service and what belongs to it in place, and takes it away: standard library only, for every Python."""
