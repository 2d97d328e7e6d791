"""Finds the configuration, reads it, and puts the environment and the options over it."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ollama_proxyd.config.build import build
from ollama_proxyd.config.check import Checked, check
from ollama_proxyd.config.document import Node, Scalar, parse, resolve
from ollama_proxyd.config.problems import ConfigError, Origin, Problem
from ollama_proxyd.config.rules import contradictions
from ollama_proxyd.config.secrets import Secrets
from ollama_proxyd.config.settings import Config

MAX_BYTES: Final = 1024 * 1024
FILE_VARIABLE: Final = "OLLAMA_PROXY_CONFIG"
VARIABLES: Final = {
    "OLLAMA_PROXY_HOST": "server.host",
    "OLLAMA_PROXY_HTTP_PORT": "server.http_port",
    "OLLAMA_PROXY_LOG_LEVEL": "monitoring.log_level",
}
"""Environment variables that stand over the file, and the key that each sets."""

_HERE: Final = Path("ollama-proxyd", "config.yaml")
_DEFAULTS: Final = "built-in defaults"


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line asks for; None where it says nothing."""

    host: str | None = None
    http_port: int | str | None = None
    log_level: str | None = None

    def by_key(self) -> dict[str, tuple[Origin, Scalar]]:
        """Each given option with its key."""
        given = {
            "server.host": ("option --host", self.host),
            "server.http_port": ("option --http-port", self.http_port),
            "monitoring.log_level": ("option --log-level", self.log_level and self.log_level.lower()),
        }
        return {key: (Origin(name), value) for key, (name, value) in given.items() if value is not None}


def search_paths(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where the file is looked for when nobody names it, best first; relative folders do not count."""
    home = environ.get("XDG_CONFIG_HOME", "")
    if not Path(home).is_absolute():
        home = str(Path(environ.get("HOME", "/"), ".config"))
    folders = environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    return tuple(Path(folder) / _HERE for folder in (home, *folders.split(":")) if Path(folder).is_absolute())


def find(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file that applies: the named one, the environment's, the first of the search path, or None."""
    if path is not None:
        return path
    if named := environ.get(FILE_VARIABLE):
        return Path(named)
    return next((candidate for candidate in search_paths(environ) if os.path.lexists(candidate)), None)


def load(path: Path | None, environ: Mapping[str, str], overrides: Overrides = Overrides()) -> Config:
    """The configuration in force; raises ConfigError with everything that is wrong."""
    found = find(path, environ)
    root = Node({}, Origin(_DEFAULTS)) if found is None else _document(found)
    root = _put_over(root, _from_environment(environ) | overrides.by_key())
    checked = check(root)
    config = None if checked.broken else build(checked.values)
    if config is not None:
        checked.errors += [Problem(checked.origin(key), key, message) for key, message in contradictions(config)]
    if config is None or checked.errors:
        raise ConfigError(checked.errors)
    folder = Path.cwd() if found is None else found.absolute().parent
    return replace(_with_secrets(config, checked, Secrets(environ, folder)), path=found)


def _with_secrets(config: Config, checked: Checked, secrets: Secrets) -> Config:
    def secret(key: str, variable: str | None, file: str | None) -> str | None:
        if variable is not None:
            return secrets.from_environment(variable, checked.origin(f"{key}_env"), f"{key}_env")
        return None if file is None else secrets.from_file(file, checked.origin(f"{key}_file"), f"{key}_file")

    token = secret("server.auth.token", config.auth.token_env, config.auth.token_file)
    sources = enumerate(zip(config.backends, config.api_keys, strict=True))
    backends = tuple(
        replace(each, api_key=secret(f"backends[{index}].api_key", source.api_key_env, source.api_key_file))
        if each.enabled
        else each
        for index, (each, source) in sources
    )
    if secrets.errors:
        raise ConfigError(secrets.errors)
    server = replace(config.server, token=token)
    return replace(config, server=server, backends=backends, warnings=(*checked.warnings, *secrets.warnings))


def _from_environment(environ: Mapping[str, str]) -> dict[str, tuple[Origin, Scalar]]:
    given = {}
    for name, key in VARIABLES.items():
        if text := environ.get(name):
            value = resolve(text) if key == "server.http_port" else text.lower()
            given[key] = (Origin(f"environment variable {name}"), value)
    return given


def _put_over(root: Node, values: Mapping[str, tuple[Origin, Scalar]]) -> Node:
    """The document with some values replaced; a section that is not one stays, to be reported."""
    for key, (origin, value) in values.items():
        section, _, name = key.partition(".")
        top = {} if root.value is None else root.value
        if not isinstance(top, dict):
            return root
        old = top.get(section, Node({}, origin))
        inner = {} if old.value is None else old.value
        if isinstance(inner, dict):
            inner = inner | {name: Node(value, origin)}
            root = replace(root, value=top | {section: replace(old, value=inner)})
    return root


def _document(path: Path) -> Node:
    source = str(path)
    content = _read(path, source)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _failure(source, "these bytes are not UTF-8 text; save the file as UTF-8", line) from None
    return parse(text, source)


def _read(path: Path, source: str) -> bytes:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise _failure(source, "this is a folder; name the file in it")
        if not stat.S_ISREG(mode):
            raise _failure(source, "this is not a plain file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise _failure(source, f"the file cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > MAX_BYTES:
        raise _failure(source, f"the file is larger than {MAX_BYTES} bytes")
    return content


def _failure(source: str, message: str, line: int | None = None) -> ConfigError:
    return ConfigError([Problem(Origin(source, line), "", message)])
