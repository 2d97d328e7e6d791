"""The daemon's command line."""

import click


@click.command()
def daemon() -> None:
    """Route requests to the backend that answers them for the least energy."""


@click.command()
def control() -> None:
    """Ask and steer the running daemon."""
