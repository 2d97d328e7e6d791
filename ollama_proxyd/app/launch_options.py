"""What the command line and the environment say, and the configuration that follows."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path

from ollama_proxyd.app.administration import file_of, kept_in, load_with
from ollama_proxyd.app.endpoints import of_picker
from ollama_proxyd.app.sources import Demo
from ollama_proxyd.config.load import Overrides, find, load, named_in, search_paths
from ollama_proxyd.config.problems import ConfigError
from ollama_proxyd.config.settings import Config
from ollama_proxyd.core.administration import Entry, Kind
from ollama_proxyd.core.values import value


@value
class LaunchOptions:
    """What the command line and the environment say."""

    environ: Mapping[str, str]
    config: Path | None = None
    overrides: Overrides = field(default_factory=Overrides)
    demo: Demo = Demo.NEVER
    is_picker: bool = False
    """Whether it picks endpoints for a gateway; this machine's sensors and bus are of no matter then."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Where the configuration is, and all places where it might come to be."""
        found = find(self.config, self.environ)
        searched = () if self.config else search_paths(self.environ)
        return tuple(dict.fromkeys((*([found] if found else []), *searched)))

    def load(self, kept: Sequence[Entry] | None = None) -> Config:
        """The configuration now, with what the admin API keeps, as far as it goes with it; raises ConfigError."""
        entries = kept_in(file_of(self.environ)).entries if kept is None else kept
        return load_with(self.load_with, entries)

    def can_load(self) -> bool:
        """Whether a daemon that is started now would find a configuration that it takes."""
        try:
            self.load()
        except ConfigError:
            return False
        return True

    def load_with(self, added: Sequence[Entry]) -> Config:
        """The same with exactly these entries of the admin API; raises ConfigError."""
        return self._meant(load(self.config, self.environ, self.overrides, added))

    def named(self, kind: Kind) -> set[str]:
        """What the file names of a kind, in small letters."""
        return named_in(self.config, self.environ, kind)

    def _meant(self, config: Config) -> Config:
        return of_picker(config) if self.is_picker else config
