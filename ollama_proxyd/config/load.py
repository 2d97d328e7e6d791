"""Finds the configuration, reads it, and puts the environment and the options over it."""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ollama_proxyd.config.build import build
from ollama_proxyd.config.check import Checked, check
from ollama_proxyd.config.document import Node, Scalar, parse, resolve
from ollama_proxyd.config.problems import ConfigError, Origin, Problem
from ollama_proxyd.config.rules import contradictions
from ollama_proxyd.config.secrets import Secrets
from ollama_proxyd.config.settings import Auth, Config, FrontendToken
from ollama_proxyd.config.shape import OPTIONS
from ollama_proxyd.core.administration import Entry, Kind
from ollama_proxyd.core.frontend_settings import FrontendSettings
from ollama_proxyd.services.inventory import BackendConfig

MAX_BYTES: Final = 1024 * 1024
LEAST_TOKEN_CHARACTERS: Final = 16
FILE_VARIABLE: Final = "OLLAMA_PROXY_CONFIG"
OVERRIDES: Final = {"host": "server.host", "http_port": "server.http_port", "log_level": "monitoring.log_level"}
"""Keys that an environment variable, OLLAMA_PROXY_HTTP_PORT, and above it an option, --http-port, set."""

_HERE: Final = Path("ollama-proxyd", "config.yaml")
_DEFAULTS: Final = "built-in defaults"


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line asks for; None where it says nothing."""

    host: str | None = None
    http_port: int | str | None = None
    log_level: str | None = None


def search_paths(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Default places of the file, best first; relative folders do not count."""
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


def defaults() -> Config:
    """The configuration where no file and no person says anything."""
    return build(check(Node({}, Origin(_DEFAULTS))).values)


def load(
    path: Path | None, environ: Mapping[str, str], overrides: Overrides = Overrides(), added: Sequence[Entry] = ()
) -> Config:
    """The configuration in force; raises ConfigError with everything that is wrong.

    added: backends and front ends beside the file's; what the file names counts.
    """
    found = find(path, environ)
    root = Node({}, Origin(_DEFAULTS)) if found is None else _document(found)
    root = _beside(_put_over(root, _given(environ, overrides)), added)
    checked = check(root)
    config = None if checked.broken else build(checked.values)
    if config is not None:
        checked.errors += [Problem(checked.origin(key), key, message) for key, message in contradictions(config)]
    if config is None or checked.errors:
        raise ConfigError((*checked.errors, *checked.warnings))
    folder = Path.cwd() if found is None else found.absolute().parent
    return replace(_with_secrets(config, checked, Secrets(environ, folder)), path=found, origins=checked.origins)


def _with_secrets(config: Config, checked: Checked, secrets: Secrets) -> Config:
    def secret(key: str, variable: str | None, file: str | None) -> str | None:
        if variable is not None:
            return secrets.from_environment(variable, checked.origin(f"{key}_env"), f"{key}_env")
        return None if file is None else secrets.from_file(file, checked.origin(f"{key}_file"), f"{key}_file")

    def with_authorities(backend: BackendConfig, key: str) -> BackendConfig:
        ca_file = backend.spec.ca_file
        if ca_file is None or not backend.enabled:
            return backend
        return replace(
            backend, spec=replace(backend.spec, ca_file=secrets.authorities(ca_file, checked.origin(key), key))
        )

    def token_of(key: str, source: Auth | FrontendToken) -> str | None:
        token = secret(f"{key}.token", source.token_env, source.token_file)
        if token is not None and len(token) < LEAST_TOKEN_CHARACTERS:
            secrets.errors.append(_short_token(checked, f"{key}.token_{'env' if source.token_env else 'file'}", token))
        return token

    token = token_of("server.auth", config.auth)
    sources = enumerate(zip(config.backends, config.api_keys, strict=True))
    backends = tuple(
        replace(each, api_key=secret(f"backends[{index}].api_key", source.api_key_env, source.api_key_file))
        if each.enabled
        else each
        for index, (each, source) in sources
    )
    frontends = tuple(
        replace(each, token=token_of(f"frontends[{index}]", source))
        for index, (each, source) in enumerate(zip(config.frontends, config.frontend_tokens, strict=True))
    )
    backends = tuple(with_authorities(each, f"backends[{index}].ca_file") for index, each in enumerate(backends))
    secrets.errors += _shared_tokens(checked, token, frontends)
    if secrets.errors:
        raise ConfigError(secrets.errors)
    server = replace(config.server, token=token)
    return replace(
        config, server=server, backends=backends, frontends=frontends, warnings=(*checked.warnings, *secrets.warnings)
    )


def _shared_tokens(checked: Checked, own: str | None, frontends: Sequence[FrontendSettings]) -> Iterator[Problem]:
    """A token opens one front end."""
    seen = {own: "the daemon itself"}
    for index, frontend in enumerate(frontends):
        if frontend.token is not None and frontend.token in seen:
            key = f"frontends[{index}].token"
            message = f"{frontend.name} has the same token as {seen[frontend.token]}; give each its own"
            yield Problem(checked.origin(key), key, message)
        seen[frontend.token] = f"the front end {frontend.name}"


def _short_token(checked: Checked, key: str, token: str) -> Problem:
    message = f"the token has {len(token)} characters and could be guessed; it needs {LEAST_TOKEN_CHARACTERS}"
    return Problem(checked.origin(key), key, f"{message}; make one with: openssl rand -hex 32")


def variable_of(name: str) -> str:
    """The environment variable for one of the overrides."""
    return f"OLLAMA_PROXY_{name.upper()}"


def _given(environ: Mapping[str, str], overrides: Overrides) -> dict[str, tuple[Origin, Scalar]]:
    """The value that stands over the file's, by key; an empty variable says nothing."""
    given: dict[str, tuple[Origin, Scalar]] = {}
    for name, key in OVERRIDES.items():
        variable, option = variable_of(name), f"--{name.replace('_', '-')}"
        if text := environ.get(variable):
            given[key] = (Origin(f"environment variable {variable}"), _read(key, text))
        if (value := getattr(overrides, name)) is not None:
            given[key] = (Origin(f"option {option}"), _read(key, str(value)))
    return given


def _read(key: str, text: str) -> Scalar:
    return resolve(text) if OPTIONS[key].takes.base is int else text.lower()


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


def _beside(root: Node, added: Sequence[Entry]) -> Node:
    """The document with further items in its lists, but for those that it names itself."""
    for entry in added:
        top = {} if root.value is None else root.value
        if not isinstance(top, dict):
            return root
        old = top.get(entry.kind.value, Node([], root.origin))
        items = [] if old.value is None else old.value
        if isinstance(items, list) and entry.name.lower() not in _names(items, entry.kind):
            place = f"{entry.kind.value}[{len(items)}]"
            origin = Origin(f"admin API: {entry.kind.value} {entry.name}", within=place)
            new = _as_node({**entry.values, entry.kind.name_key: entry.name}, origin)
            root = replace(root, value=top | {entry.kind.value: replace(old, value=[*items, new])})
    return root


def _names(items: Sequence[Node], kind: Kind) -> set[str]:
    values = (each.value.get(kind.name_key) for each in items if isinstance(each.value, dict))
    return {str(each.value).lower() for each in values if each is not None}


def _as_node(value: Any, origin: Origin) -> Node:
    if isinstance(value, dict):
        return Node({str(key): _as_node(each, origin) for key, each in value.items()}, origin)
    return Node([_as_node(each, origin) for each in value] if isinstance(value, list) else value, origin)


def named_in(path: Path | None, environ: Mapping[str, str], kind: Kind) -> set[str]:
    """The names under a section of the file, in small letters; none where it cannot be read."""
    found = find(path, environ)
    try:
        root = Node({}, Origin(_DEFAULTS)) if found is None else _document(found)
    except ConfigError:
        return set()
    section = root.value.get(kind.value) if isinstance(root.value, dict) else None
    return _names(section.value, kind) if section is not None and isinstance(section.value, list) else set()


def _document(path: Path) -> Node:
    source = str(path)
    content = _content(path, source)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _failure(source, "these bytes are not UTF-8 text; save the file as UTF-8", line) from None
    return parse(text, source)


def _content(path: Path, source: str) -> bytes:
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
