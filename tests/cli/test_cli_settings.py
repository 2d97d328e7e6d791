"""`mode settings`: the quiet hours and Auto's thresholds."""

import json
from typing import Any

from tests.cli.conftest import Ctl, ServedDaemon


def read(ctl: Ctl, *arguments: str) -> Any:
    result = ctl("mode", "settings", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_settings_are_shown_with_those_that_were_changed(daemon: ServedDaemon, ctl: Ctl) -> None:
    daemon.do(lambda: daemon.services.settings.change({"low_battery_percent": 45.0}))
    assert (
        ctl("mode", "settings").output
        == """\
quiet_hours_enabled       on
quiet_hours_start         22:00
quiet_hours_end           07:00
critical_battery_percent  20
low_battery_percent       45     changed
full_battery_percent      80
"""
    )


def test_several_are_changed_at_once_as_a_person_writes_them(daemon: ServedDaemon, ctl: Ctl) -> None:
    told = read(ctl, "quiet_hours_enabled=Off", "quiet_hours_start=21:30", "low_battery_percent=45")
    tuning = daemon.services.settings.tuning.value
    assert (tuning.quiet_hours_enabled, tuning.quiet_hours_start, tuning.low_battery_percent) == (False, "21:30", 45.0)
    assert told["settings"]["quiet_hours_enabled"] is False
    assert sorted(told["changed"]) == ["low_battery_percent", "quiet_hours_enabled", "quiet_hours_start"]


def test_what_the_daemon_does_not_take_is_told_as_it_says_and_ends_with_2(daemon: ServedDaemon, ctl: Ctl) -> None:
    for changes, name in (
        (["low_battery_percent=much"], "low_battery_percent"),
        (["quiet_hours_start=25:00"], "quiet_hours_start"),
        (["quiet_hours_enabled=perhaps"], "quiet_hours_enabled"),
        (["low_batery=5"], "'low_batery'"),
        (["quiet_hours_start=21:00", "low_battery_percent=101"], "low_battery_percent"),
    ):
        result = ctl("mode", "settings", *changes)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith("ollama-proxyctl: ")
        assert name in result.stderr
    assert daemon.services.settings.changed == ()


def test_some_or_all_go_back_to_the_configuration(daemon: ServedDaemon, ctl: Ctl) -> None:
    ctl("mode", "settings", "quiet_hours_start=21:30", "low_battery_percent=45", "full_battery_percent=90")
    assert sorted(read(ctl, "low_battery_percent", "--reset")["changed"]) == [
        "full_battery_percent",
        "quiet_hours_start",
    ]
    assert read(ctl, "--reset")["changed"] == []


def test_what_is_no_change_is_a_usage_error(daemon: ServedDaemon, ctl: Ctl) -> None:
    for words in (["low_battery_percent"], ["=5"], ["a=1", "a=2"], ["--reset", "low_battery_percent=5"]):
        assert ctl("mode", "settings", *words).exit_code == 2
    assert daemon.services.settings.changed == ()


def test_the_alias_has_it_too(daemon: ServedDaemon, alias: Ctl) -> None:
    assert alias("settings").output.startswith("quiet_hours_enabled ")
