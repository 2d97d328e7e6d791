"""Tokens and keys from the environment and from files."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ollama_proxyd.config.settings import Config

Loader = Callable[..., Config]
Complaints = Callable[..., list[str]]

TOKEN_FILE = "server: {auth: {token_file: token}}"
KEY = "backends: [{id: a, endpoint: 'http://a:1', api_key_env: K}]"


def secret(folder: Path, text: str = "a-word-of-some-length\n", mode: int = 0o600) -> Path:
    path = folder / "token"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_a_token_is_read_from_a_file_beside_the_configuration(loaded: Loader, tmp_path: Path) -> None:
    secret(tmp_path)
    config = loaded(TOKEN_FILE)
    assert config.server.token == "a-word-of-some-length"
    assert config.warnings == ()


@pytest.mark.parametrize("text", ["{}", "{}\r\n", "\ufeff{}\n", " {} \n\n", "\t{}"])
def test_what_editors_put_around_a_secret_is_no_part_of_it(loaded: Loader, tmp_path: Path, text: str) -> None:
    secret(tmp_path, text.format("a-word-of-some-length"))
    assert loaded(TOKEN_FILE).server.token == "a-word-of-some-length"


def test_a_token_is_read_from_the_home_folder(loaded: Loader, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    secret(home, "at-home-long-enough")
    assert loaded("server: {auth: {token_file: ~/token}}", {"HOME": str(home)}).server.token == "at-home-long-enough"


def test_a_key_is_read_from_the_environment(loaded: Loader) -> None:
    assert loaded(KEY, {"K": "sk-1"}).backends[0].api_key == "sk-1"


def test_a_secret_that_others_may_read_is_a_warning(loaded: Loader, tmp_path: Path) -> None:
    secret(tmp_path, mode=0o644)
    (warning,) = loaded(TOKEN_FILE).warnings
    assert warning.message == f"others may read {tmp_path}/token; run: chmod 600 {tmp_path}/token"


def test_a_variable_that_is_not_set_is_an_error_at_its_key(complaints: Complaints) -> None:
    assert complaints(KEY) == ["config.yaml:1: backends[0].api_key_env: the environment variable K is not set"]


@pytest.mark.parametrize("text", ["", "\n", "two words", "line\nline", "ümlaut", "x" * 5000])
def test_a_secret_that_no_header_could_carry_is_an_error(complaints: Complaints, tmp_path: Path, text: str) -> None:
    secret(tmp_path, text)
    (line,) = complaints(TOKEN_FILE)
    assert line.endswith("does not hold one word of printable ASCII characters")


def test_a_secret_file_that_is_missing_is_an_error(complaints: Complaints, tmp_path: Path) -> None:
    (line,) = complaints(TOKEN_FILE)
    assert line == f"config.yaml:1: server.auth.token_file: {tmp_path}/token cannot be read: No such file or directory"


def test_a_secret_is_never_shown(loaded: Loader, tmp_path: Path) -> None:
    secret(tmp_path)
    config = loaded(TOKEN_FILE + "\n" + KEY, {"K": "sk-1"})
    assert "word" not in repr(config)
    assert "sk-1" not in repr(config)


AUTHORITIES = "backends: [{id: a, endpoint: 'https://a:1', ca_file: ca.pem}]"


def test_a_certificate_file_is_found_beside_the_configuration(loaded: Loader, tmp_path: Path) -> None:
    certificate = Path(__file__).parents[1] / "upstreams/self_signed.pem"
    (tmp_path / "ca.pem").write_bytes(certificate.read_bytes())
    assert loaded(AUTHORITIES).backends[0].spec.ca_file == str(tmp_path / "ca.pem")


def test_a_certificate_file_that_cannot_be_used_is_named(complaints: Complaints, tmp_path: Path) -> None:
    path, where = tmp_path / "ca.pem", "config.yaml:1: backends[0].ca_file"
    assert complaints(AUTHORITIES) == [f"{where}: {path} cannot be used: No such file or directory"]
    path.write_text("hello", encoding="utf-8")
    assert complaints(AUTHORITIES) == [f"{where}: {path} cannot be used: it holds no certificate in PEM form"]


def test_a_token_that_could_be_guessed_is_an_error_at_its_key(complaints: Complaints, tmp_path: Path) -> None:
    secret(tmp_path, "fifteen-letters")
    (line,) = complaints(TOKEN_FILE)
    assert line.startswith("config.yaml:1: server.auth.token_file: the token has 15 characters and could be guessed; ")
    assert line.endswith("it needs 16; make one with: openssl rand -hex 32")


@pytest.mark.parametrize("kind", ["folder", "pipe", "/dev/zero"])
def test_certificates_are_read_from_a_file_alone(complaints: Complaints, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "ca.pem"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path = Path(kind)
    (line,) = complaints(f"backends:\n  - {{id: a, endpoint: 'https://a', ca_file: '{path}'}}\n")
    assert line.endswith(f"{path} is not a file")
