"""What is given for containers fits together, and with the daemon: the image's recipe, compose files and the chart."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from ollama_proxyd import __version__
from ollama_proxyd.config.load import load
from ollama_proxyd.config.settings import Config
from tests.packaging.containerfile import RECIPE, instructions
from tests.real_things import ROOT, installed

HERE = ROOT / "container"
CHART = ROOT / "charts" / "ollama-proxyd"
TOKEN = "0123456789abcdef"
CONFIGS = ("config.yaml", "config.four.yaml")


def config_in(file: Path) -> Config:
    return load(file, {"OLLAMA_PROXY_TOKEN": TOKEN, "HOME": "/var/lib/ollama-proxyd"})


def services_of(*names: str) -> dict[str, Any]:
    """The services of compose files laid over each other, as far as their names and images go."""
    found: dict[str, Any] = {}
    for name in names:
        for service, facts in yaml.safe_load((HERE / name).read_text())["services"].items():
            found[service] = {**found.get(service, {}), **facts}
    return found


# the image


def test_what_the_image_takes_from_the_project_is_there_and_nothing_else_is_sent() -> None:
    stages = instructions()
    taken = {
        each
        for stage in stages
        for word, rest in stage
        if word == "COPY" and "--from" not in rest
        for each in rest.split()[:-1]
    }
    sent = {line[1:] for line in (ROOT / ".containerignore").read_text().splitlines() if line.startswith("!")}
    assert taken == sent
    assert all((ROOT / each).exists() for each in taken)
    assert (ROOT / ".dockerignore").read_text() == (ROOT / ".containerignore").read_text()


def test_the_image_runs_as_a_user_of_its_own_and_tells_its_health() -> None:
    last = dict(instructions()[-1])
    assert last["USER"] == "10001:10001"
    assert "/healthz" in last["HEALTHCHECK"]
    assert json.loads(last["ENTRYPOINT"]) == ["ollama-proxyd"]
    assert last["EXPOSE"] == "8080"


@pytest.mark.parametrize("name", CONFIGS)
def test_the_configurations_of_images_are_good_and_need_a_token(name: str) -> None:
    config = config_in(HERE / name)
    assert config.server.host == "0.0.0.0"
    assert config.server.token == TOKEN
    with pytest.raises(Exception, match="OLLAMA_PROXY_TOKEN is not set"):
        load(HERE / name, {})


# compose


@pytest.mark.parametrize(
    ("files", "config"), [(("compose.yaml",), CONFIGS[0]), (("compose.yaml", "compose.four.yaml"), CONFIGS[1])]
)
def test_each_backend_of_a_composition_is_one_of_its_services(files: tuple[str, ...], config: str) -> None:
    services = services_of(*files)
    engines = {urlsplit(each.spec.endpoint).hostname for each in config_in(HERE / config).backends}
    assert engines == set(services) - {"ollama-proxyd"}
    assert services["ollama-proxyd"]["depends_on"].keys() <= set(services)


def test_a_composition_publishes_to_this_machine_alone_and_demands_a_token() -> None:
    proxy = services_of("compose.yaml")["ollama-proxyd"]
    assert proxy["ports"] == ["127.0.0.1:${PORT:-8080}:8080"]
    assert proxy["environment"]["OLLAMA_PROXY_TOKEN"].startswith("${OLLAMA_PROXY_TOKEN:?")
    assert proxy["read_only"]
    assert proxy["build"] == {"context": "..", "dockerfile": str(RECIPE.relative_to(ROOT))}


# the chart

EVERYTHING = {
    "ingress.enabled": "true",
    "ingress.hosts[0].host": "llm.example.org",
    "serviceMonitor.enabled": "true",
    "podDisruptionBudget.enabled": "true",
    "defaultModel": "llama3.2:1b",
    "config.routing.retries": "1",
}
CASES: dict[str, dict[str, str]] = {
    "plain": {},
    "everything": EVERYTHING,
    "an Ollama elsewhere": {"ollamaUrl": "http://models.example:11434", "persistence.enabled": "false"},
    "a secret that exists": {"auth.existingSecret": "mine", "auth.token": "", "serviceAccount.create": "false"},
}


def rendered(values: dict[str, str]) -> subprocess.CompletedProcess[str]:
    settings = [f"--set={name}={value}" for name, value in ({"auth.token": TOKEN} | values).items()]
    helm = installed("install-helm")
    return subprocess.run(
        [helm, "template", "mine", CHART, "-n", "llm", *settings], capture_output=True, text=True, check=False
    )


def objects(values: dict[str, str]) -> dict[str, Any]:
    done = rendered(values)
    assert done.returncode == 0, done.stderr
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in yaml.safe_load_all(done.stdout) if each}


def within(value: Any, key: str) -> Iterator[Any]:
    """Every value under a key, however deep."""
    if isinstance(value, dict):
        yield from (each for name, each in value.items() if name == key)
        yield from (found for each in value.values() for found in within(each, key))
    elif isinstance(value, list):
        yield from (found for each in value for found in within(each, key))


def test_the_charts_version_is_the_projects() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


@pytest.mark.parametrize("case", CASES)
def test_what_the_chart_refers_to_is_in_it(case: str) -> None:
    found = objects(CASES[case])
    pod = found["Deployment/mine-ollama-proxyd"]["spec"]["template"]["spec"]
    volumes = {each["name"] for each in pod["volumes"]}
    assert {mount["name"] for mounts in within(pod["containers"], "volumeMounts") for mount in mounts} == volumes
    for claim in within(pod["volumes"], "claimName"):
        assert f"PersistentVolumeClaim/{claim}" in found
    for secret in within(pod, "secretKeyRef"):
        assert secret == {"name": "mine", "key": "token"} or f"Secret/{secret['name']}" in found
    labels = found["Deployment/mine-ollama-proxyd"]["spec"]["template"]["metadata"]["labels"]
    for selector in within(found["Service/mine-ollama-proxyd"]["spec"], "selector"):
        assert selector.items() <= labels.items()
    named = [port["name"] for ports in within(pod["containers"], "ports") for port in ports]
    assert named == ["http"]


@pytest.mark.parametrize("case", CASES)
def test_the_daemon_takes_the_charts_configuration_and_its_probes_names(case: str, tmp_path: Path) -> None:
    found = objects(CASES[case])
    written = tmp_path / "config.yaml"
    written.write_text(found["ConfigMap/mine-ollama-proxyd"]["data"]["config.yaml"])
    config = config_in(written)
    wanted = "http://models.example:11434" if "ollamaUrl" in CASES[case] else "http://127.0.0.1:11434"
    assert [each.spec.endpoint for each in config.backends] == [wanted]
    assert "mine-ollama-proxyd.llm.svc" in config.server.allowed_hosts
    if case == "everything":
        assert "llm.example.org" in config.server.allowed_hosts
        (monitor,) = within(found["ServiceMonitor/mine-ollama-proxyd"], "replacement")
        assert monitor.rpartition(":")[0] in config.server.allowed_hosts
    hosts = [header["value"] for headers in within(found, "httpHeaders") for header in headers]
    assert hosts == ["localhost", "localhost"]


def test_models_stay_when_the_release_is_uninstalled() -> None:
    claim = objects({})["PersistentVolumeClaim/mine-ollama-proxyd-models"]
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"auth.token": ""}, "auth.token has fewer than 16 characters"),
        ({"replicaCount": "2"}, "install a second release"),
        ({"ingress.enabled": "true"}, "ingress.hosts is empty"),
    ],
)
def test_values_that_cannot_work_are_refused_with_their_reason(values: dict[str, str], why: str) -> None:
    done = rendered(values)
    assert done.returncode != 0
    assert re.search(re.escape(why), done.stderr)
