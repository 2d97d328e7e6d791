"""Arguments that the shell can complete: names of modes, of backends and of models."""

import click
from click.shell_completion import CompletionItem

from ollama_proxyd.cli.failures import Failed
from ollama_proxyd.cli.session import Asked


class ModeName(click.ParamType[str]):
    """An efficiency mode as a person writes it; becomes its token."""

    name = "mode"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The token; a name that is none is a usage error that says which there are."""
        from ollama_proxyd.core.modes import parse_mode  # noqa: PLC0415 - 30 ms that most commands need not wait for

        try:
            return parse_mode(value).value
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """The modes that begin so, each with what it is for."""
        from ollama_proxyd.core.modes import DEFAULT_TABLE  # noqa: PLC0415 - as above

        return [
            CompletionItem(mode.value, help=row.description)
            for mode, row in DEFAULT_TABLE.items()
            if mode.value.lower().startswith(incomplete.lower())
        ]


class BackendId(click.ParamType[str]):
    """A backend by its id."""

    name = "id"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """The ids that begin so, none where no daemon answers: pressing a key must not fail."""
        try:
            with ctx.ensure_object(Asked).reach() as daemon:
                found = daemon.get("/status")["backends"]
        except Failed:
            return []
        return [CompletionItem(each["id"], help=each["name"]) for each in found if each["id"].startswith(incomplete)]


class ModelId(click.ParamType[str]):
    """A model by its name."""

    name = "model"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """The names that begin so, none where no daemon answers."""
        try:
            with ctx.ensure_object(Asked).reach() as daemon:
                found = daemon.get("/models")["models"]
        except Failed:
            return []
        return [CompletionItem(each["id"]) for each in found if each["id"].startswith(incomplete)]


MODE = ModeName()
BACKEND = BackendId()
MODEL = ModelId()
