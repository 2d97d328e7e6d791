"""`features` shows the flags and what each really does, and switches one."""

from ollama_proxyd.core.features import Feature
from tests.cli.conftest import Ctl, ServedDaemon


def test_every_flag_is_shown_with_a_line_for_each_backend(daemon: ServedDaemon, ctl: Ctl) -> None:
    text = ctl("features").output
    assert all(f"{each.value}: off" in text for each in Feature)
    assert "no request can say it; restart" in text or "not possible here" in text


def test_one_is_switched_on_kept_and_off(daemon: ServedDaemon, ctl: Ctl) -> None:
    assert "prefix_cache: on, kept over restarts" in ctl("features", "on", "prefix_cache", "--keep").output
    assert Feature.PREFIX_CACHE in daemon.services.features.wishes.value.on
    assert "prefix_cache: off" in ctl("features", "off", "prefix_cache").output


def test_a_flag_that_is_none_is_an_error_that_names_them(daemon: ServedDaemon, ctl: Ctl) -> None:
    result = ctl("features", "on", "warp")
    assert result.exit_code != 0
    assert "flash_attn" in result.output
