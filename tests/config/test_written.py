"""What a person is told of the options in force: where each is from, and no secret."""

from pathlib import Path

from ollama_proxyd.config.load import Overrides, load
from ollama_proxyd.config.shape import OPTIONS
from ollama_proxyd.config.written import written

FILE = """server:
  http_port: 8181
  auth: {token_env: SECRET_PLACE}
efficiency: {quiet_hours: {start: "23:00"}}
backends: [{id: npu, endpoint: "http://127.0.0.1:1", type: ollama}]
"""


def test_each_option_has_its_value_and_where_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(FILE)
    config = load(path, {"SECRET_PLACE": "a-long-enough-token"}, Overrides(log_level="debug"))
    told = {each.key: each for each in written(config)}
    assert told.keys() == {key for key in OPTIONS if "[]" not in key}
    start = told["efficiency.quiet_hours.start"]
    assert (start.value, start.default, start.origin, start.needs_restart) == ("23:00", "22:00", f"{path}:4", False)
    assert (told["server.http_port"].value, told["server.http_port"].needs_restart) == (8181, True)
    assert told["monitoring.log_level"].origin == "option --log-level"
    assert told["efficiency.quiet_hours.end"].origin is None


def test_no_secret_is_told(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(FILE)
    told = str(list(written(load(path, {"SECRET_PLACE": "a-long-enough-token"}))))
    assert "SECRET_PLACE" in told
    assert "a-long-enough-token" not in told
