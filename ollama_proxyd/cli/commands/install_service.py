"""`ollama-proxyctl install-service`: makes an installed package a service of the user."""

import click


@click.command("install-service")
@click.option("--uninstall", "away", is_flag=True, help="Take it away again.")
@click.option("--purge", is_flag=True, help="With --uninstall: the configuration and what was learned too.")
def install_service(away: bool, purge: bool) -> None:
    """Put the systemd units and the D-Bus activation of this user in place.

    For installations by pipx or pip; scripts/install does it by itself.
    """
    if purge and not away:
        raise click.UsageError("--purge goes with --uninstall")
    from ollama_proxyd.cli.install import command  # noqa: PLC0415 - 20 ms that other commands need not wait for

    click.echo("\n".join(command.run(away=away, purge=purge)))
