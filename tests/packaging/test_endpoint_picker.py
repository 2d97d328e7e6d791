"""The manifests of the endpoint picker fit together, with the image, and with what reads the configuration."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from ollama_proxyd import __version__
from ollama_proxyd.app.launch_options import LaunchOptions
from ollama_proxyd.edges.picker_api.server import LIVENESS, READY
from tests.packaging.containerfile import instructions
from tests.real_things import ROOT

FILE = ROOT / "charts" / "endpoint-picker.yaml"


def objects() -> dict[str, Any]:
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in yaml.safe_load_all(FILE.read_text())}


def pod() -> Any:
    return objects()["Deployment/endpoint-picker"]["spec"]["template"]


def test_the_picker_takes_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(objects()["ConfigMap/endpoint-picker"]["data"]["config.yaml"])
    config = LaunchOptions({"HOME": str(tmp_path)}, file, is_picker=True).load()
    ports = pod()["spec"]["containers"][0]["ports"]
    picker = config.picker
    assert (picker.host, picker.port, picker.health_port) == ("0.0.0.0", *[each["containerPort"] for each in ports])
    assert picker.secure_serving, "gateways of the extension connect by TLS"
    found = objects()
    for backend in config.backends:
        place = urlsplit(backend.spec.endpoint)
        service = found[f"Service/{place.hostname}"]["spec"]
        assert service["clusterIP"] == "None", "only a headless service has an address for each pod"
        assert (
            place.port == service["ports"][0]["port"] == found["InferencePool/llm"]["spec"]["targetPorts"][0]["number"]
        )
        assert found["InferencePool/llm"]["spec"]["selector"]["matchLabels"].items() <= service["selector"].items()


def test_what_the_manifests_refer_to_is_in_them() -> None:
    found, spec = objects(), pod()["spec"]
    picker = found["InferencePool/llm"]["spec"]["endpointPickerRef"]
    service = found[f"Service/{picker['name']}"]["spec"]
    assert picker["port"]["number"] == service["ports"][0]["port"]
    assert picker["failureMode"] in {"FailOpen", "FailClose"}
    assert service["selector"].items() <= pod()["metadata"]["labels"].items()
    assert service["ports"][0]["targetPort"] in [each["name"] for each in spec["containers"][0]["ports"]]
    assert {each["name"] for each in spec["containers"][0]["volumeMounts"]} == {
        each["name"] for each in spec["volumes"]
    }
    assert f"ConfigMap/{spec['volumes'][0]['configMap']['name']}" in found
    (route,) = found["HTTPRoute/llm"]["spec"]["rules"]
    assert f"InferencePool/{route['backendRefs'][0]['name']}" in found


def test_probes_ask_for_services_that_the_picker_tells_of() -> None:
    container = pod()["spec"]["containers"][0]
    for probe in ("livenessProbe", "readinessProbe"):
        assert container[probe]["grpc"]["port"] == container["ports"][1]["containerPort"], "kubelets speak no TLS"
    assert container["livenessProbe"]["grpc"]["service"] == LIVENESS
    assert container["readinessProbe"]["grpc"]["service"] in READY


def test_the_image_is_of_this_version_and_can_be_made_with_the_packages_for_grpc() -> None:
    container, last = pod()["spec"]["containers"][0], dict(instructions()[-1])
    assert container["image"] == f"ollama-proxyd:{__version__}-grpc"
    assert json.loads(last["ENTRYPOINT"]) == ["ollama-proxyd"]
    assert container["args"] == ["picker"]
    first = instructions()[0]
    assert ("ARG", "LOCK=requirements.lock") in first
    assert any(word == "COPY" and "requirements-grpc.lock" in rest for word, rest in first)
