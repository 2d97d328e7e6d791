"""What is wrong with a configuration, where it was written, and what to do about it."""

from collections.abc import Iterable

from ollama_proxyd.core.values import value


@value
class Origin:
    """Where a value was written: a line of a file, an environment variable, an option, or what the admin API keeps.

    `within`: the path of what `source` is, where that stands in no file; keys are told as they are below it.
    """

    source: str
    line: int | None = None
    within: str = ""

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@value
class Problem:
    """One thing that is wrong; `key` is the path of the setting, empty where the whole file is at fault.

    As text it is one line, whatever stands in the file.
    """

    origin: Origin
    key: str
    message: str

    def __str__(self) -> str:
        key = self.key.removeprefix(self.origin.within).removeprefix(".") if self.origin.within else self.key
        line = ": ".join(part for part in (str(self.origin), key, self.message) if part)
        return "".join(each if each.isprintable() else repr(each)[1:-1] for each in line)


class ConfigError(Exception):
    """A configuration that cannot be used, with everything that is wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
