"""Translations between the outside world and the services."""
