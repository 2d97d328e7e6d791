"""The image's recipe, step by step in a Debian: what it makes starts, read-only and as its own user, and is healthy."""

import json
import shlex
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.box.box import Box
from tests.box.installation import SOURCE, WHEELS, shown
from tests.e2e import tiny_model
from tests.e2e.harness import wait_until
from tests.packaging.containerfile import instructions
from tests.real_things import installed

pytestmark = pytest.mark.real

UNIT = "image.service"
TOKEN = "0123456789abcdef"
OFFLINE = f"export PIP_NO_INDEX=1 PIP_FIND_LINKS={WHEELS}"
CONFINED = (
    *("User=10001", "Group=10001", "ProtectSystem=strict", "ReadWritePaths=/var/lib/ollama-proxyd", "PrivateTmp=yes"),
    *("NoNewPrivileges=yes", "CapabilityBoundingSet=", "PrivateNetwork=yes", "InaccessiblePaths=/run/dbus"),
)


def copying(*words: str) -> str:
    """COPY as a line of shell: into a folder where the target ends with a slash or there are several sources."""
    *sources, target = words
    given = " ".join(f"{SOURCE}/{each}" for each in sources)
    if target.endswith("/"):
        return f"mkdir -p {target}; cp {given} {target}"
    return f"mkdir -p $(dirname {target}); cp -rT {given} {target}"


def build(box: Box) -> None:
    """Carry out the steps of all stages in one system; the box has Debian's packages already."""
    folder = "/"
    for stage in instructions():
        for word, rest in stage:
            if word == "WORKDIR":
                folder = rest
                box.root("mkdir", "-p", folder)
            elif word == "COPY" and "--from" not in rest:
                box.root("bash", "-euc", f"cd {folder}; {copying(*rest.split())}")
            elif word == "RUN":
                box.root("bash", "-euo", "pipefail", "-c", f"{OFFLINE}; apt-get() {{ :; }}; cd {folder}; {rest}")


def started(*command: str, joins: bool = False) -> list[str]:
    """A command line with the image's environment, confined as a careful person would run the image."""
    last = dict(instructions()[-1])
    environment = [f"--setenv={each}" for each in (*shlex.split(last["ENV"]), f"OLLAMA_PROXY_TOKEN={TOKEN}")]
    more = [f"--property=JoinsNamespaceOf={UNIT}", "--wait", "--pipe"] if joins else [f"--unit={UNIT}"]
    return ["systemd-run", "--quiet", *more, *(f"--property={each}" for each in CONFINED), *environment, "--", *command]


@pytest.fixture(scope="module")
def image(box_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A box of its own, since the steps change what other daemons would find."""
    wheels = Path(installed("install-box-tests").splitlines()[1])
    model = tiny_model.build(tmp_path_factory.mktemp("model") / "tiny.gguf")
    with Box(box_root, shown(wheels, model)) as box:
        build(box)
        box.root(*started("/opt/ollama-proxyd/bin/ollama-proxyd"))
        yield box


def inside(box: Box, *command: str) -> tuple[int, str]:
    done = box.root(*started(*command, joins=True), check=False)
    return done.returncode, done.stdout + done.stderr


def test_its_health_is_told_by_its_own_command(image: Box) -> None:
    command = json.loads(dict(instructions()[-1])["HEALTHCHECK"].partition("CMD ")[2])
    wait_until(lambda: inside(image, f"/usr/bin/{command[0]}", *command[1:])[0] == 0, "the image is healthy", 30)


def test_it_says_once_that_there_is_neither_bus_nor_battery(image: Box) -> None:
    wait_until(lambda: "backend ollama is down" in _said(image), "it has looked for its engine", 30)
    for told in ("nothing is known of battery", "no D-Bus service"):
        wait_until(partial(_has_said, image, told), told, 30)
        assert _said(image).count(told) == 1
    assert "Traceback" not in _said(image)


def test_its_own_tool_talks_to_it(image: Box) -> None:
    status, said = inside(image, "/opt/ollama-proxyd/bin/ollama-proxyctl", "status")
    assert status == 0, said
    assert "ollama" in said


def _has_said(box: Box, words: str) -> bool:
    return words in _said(box)


def _said(box: Box) -> str:
    return box.root("journalctl", "--no-pager", "--unit", UNIT).stdout
