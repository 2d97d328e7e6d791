"""The five interfaces on the session bus."""
