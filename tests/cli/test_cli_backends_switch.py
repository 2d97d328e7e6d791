"""Taking backends out of service and putting them back."""

import json

from ollama_proxyd.core.fleet import Health
from tests.cli.conftest import Ctl, ServedDaemon


def test_a_disabled_backend_does_not_serve_until_it_is_enabled(daemon: ServedDaemon, ctl: Ctl) -> None:
    assert ctl("backends", "disable", "igpu").output == "igpu: switched off by hand\n"
    assert daemon.services.fleet.view("igpu").health is Health.DISABLED
    assert json.loads(ctl("backends", "enable", "igpu", "--json").output)["enabled"] is True
    assert daemon.services.fleet.view("igpu").health is not Health.DISABLED


def test_a_backend_that_is_none_cannot_be_disabled(daemon: ServedDaemon, ctl: Ctl) -> None:
    result = ctl("backends", "disable", "tpu")
    assert result.exit_code == 1
    assert "there are: npu, igpu, nvidia, cpu" in result.stderr
