"""The XML files are the contract: what runs is what they say, and they say a sentence about every member."""

import configparser
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import Variant
from dbus_fast.unpack import unpack_variants

from ollama_proxyd import __version__
from ollama_proxyd.edges.dbus_api.contract import contract
from ollama_proxyd.edges.dbus_api.exported import SignalSender
from ollama_proxyd.edges.dbus_api.objects import Objects
from ollama_proxyd.edges.dbus_api.standard import OBJECT_MANAGER
from ollama_proxyd.services.tasks import Tasks
from tests.edges.dbus_api.bus_desk import ROOT, ROOT_PATH, Desk, Program, interface_of

REPOSITORY = Path(__file__).parents[3]
FILES = REPOSITORY / "dbus" / "interfaces"
DOC = "org.gtk.GDBus.DocString"
EMITS = "org.freedesktop.DBus.Property.EmitsChangedSignal"
INTERFACES = ("", "Efficiency", "Backends", "Backend", "Routing", "Thermal", "SystemState")
OBJECTS = {**{name: name for name in INTERFACES}, "Backend": "Backends/npu"}

each_interface = pytest.mark.parametrize("short_name", INTERFACES)

OF_OLD = {
    "Efficiency": {
        "SetMode": ("s", ""),
        "GetMode": ("", "s"),
        "GetEffectiveMode": ("", "s"),
        "ListModes": ("", "as"),
        "GetModeInfo": ("s", "a{sv}"),
        "ModeChanged": "ss",
        "CurrentMode": ("s", "readwrite"),
        "EffectiveMode": ("s", "read"),
    },
    "Backends": {
        "ListBackends": ("", "aa{sv}"),
        "GetBackendDetails": ("s", "a{sv}"),
        "GetBackendMetrics": ("s", "a{sv}"),
        "GetEnergyAccounts": ("", "aa{sv}"),
        "GetSupportedModels": ("s", "as"),
        "RefreshBackendStatus": ("", ""),
        "BackendStatusChanged": "sb",
        "BackendCount": ("i", "read"),
        "HealthyCount": ("i", "read"),
        "InFlight": ("i", "read"),
        "Waiting": ("i", "read"),
    },
    "Routing": {
        "GetRoutingStats": ("", "a{sv}"),
        "GetLastDecisions": ("u", "aa{sv}"),
        "GetBackendDistribution": ("", "a{sd}"),
        "SimulateRouting": ("a{sv}", "ss"),
        "RequestRouted": "ssi",
        "TotalRequests": ("x", "read"),
        "Savings": ("a{sv}", "read"),
    },
    "Thermal": {
        "GetThermalState": ("", "a{sv}"),
        "GetHardwareState": ("s", "a{sv}"),
        "GetThermalThresholds": ("", "a{sv}"),
        "IsThrottling": ("", "b"),
        "ThermalWarning": "sd",
        "ThrottlingStarted": "s",
        "ThrottlingStopped": "s",
        "AverageTemperature": ("d", "read"),
        "AverageFanSpeed": ("i", "read"),
        "ThrottlingActive": ("b", "read"),
    },
    "SystemState": {
        "GetSystemState": ("", "a{sv}"),
        "GetAutoModeReasoning": ("", "s"),
        "IsQuietHours": ("", "b"),
        "PowerSourceChanged": "b",
        "BatteryLevelChanged": "i",
        "QuietHoursChanged": "b",
        "BatteryPercent": ("i", "read"),
        "OnBattery": ("b", "read"),
        "QuietHours": ("b", "read"),
    },
}
"""The members that scripts know, with their signatures; more may stand beside them, none may change."""


def interface_in(node: ET.Element, name: str) -> ET.Element:
    return next(each for each in node.iter("interface") if each.get("name") == name)


def full(short_name: str) -> str:
    return f"{ROOT}.{short_name}".rstrip(".")


def written(short_name: str) -> ET.Element:
    return interface_in(ET.parse(FILES / f"{full(short_name)}.xml").getroot(), full(short_name))


def plain(element: ET.Element) -> Any:
    """An element without its layout, and with its parts in the order of their names; a signal's arguments go out."""
    for argument in element.findall("arg"):
        argument.set("direction", argument.get("direction", "out"))
    parts = [plain(child) for child in element if child.tag != "arg"]
    arguments = [tuple(sorted(child.items())) for child in element if child.tag == "arg"]
    return element.tag, sorted(element.items()), arguments, sorted(parts)


def members(interface: ET.Element) -> Iterator[ET.Element]:
    return (each for each in interface if each.tag in {"method", "signal", "property"})


def annotation(element: ET.Element, name: str) -> str | None:
    return next((each.get("value") for each in element.findall("annotation") if each.get("name") == name), None)


@each_interface
async def test_the_running_daemon_describes_itself_as_the_file_does(program: Program, short_name: str) -> None:
    node = await program.introspect(f"{ROOT_PATH}/{OBJECTS[short_name]}".rstrip("/"))
    assert plain(interface_in(node, full(short_name))) == plain(written(short_name))


@each_interface
async def test_every_property_is_there_with_its_type(program: Program, short_name: str) -> None:
    where = OBJECTS[short_name]
    target = (ROOT, f"{ROOT_PATH}/{where}".rstrip("/"), "org.freedesktop.DBus.Properties")
    values = await program.ask(target, "GetAll", "s", interface_of(where))
    expected = {each.get("name"): each.get("type") for each in written(short_name).findall("property")}
    assert {name: value.signature for name, value in values.items()} == expected
    for name, value in values.items():
        one = unpack_variants(await program.ask(target, "Get", "ss", interface_of(where), name))
        assert str(one) == str(unpack_variants(value))


@each_interface
def test_every_member_has_a_sentence(short_name: str) -> None:
    for element in (written(short_name), *members(written(short_name))):
        sentence = annotation(element, DOC) or ""
        assert sentence[:1].isupper(), element.get("name")
        assert sentence.endswith("."), element.get("name")


@each_interface
def test_every_property_says_whether_its_changes_are_told(short_name: str) -> None:
    for element in written(short_name).findall("property"):
        assert annotation(element, EMITS) in {"true", "const"}, element.get("name")


@pytest.mark.parametrize("short_name", OF_OLD)
def test_what_scripts_of_old_call_is_there_as_they_know_it(short_name: str) -> None:
    ours = contract(short_name)
    found: dict[str, Any] = {name: (each.in_signature, each.out_signature) for name, each in ours.methods.items()}
    found |= {name: each.signature for name, each in ours.signals.items()}
    found |= {name: (each.signature, each.access.value) for name, each in ours.properties.items()}
    assert found | OF_OLD[short_name] == found


async def test_every_method_of_the_contract_is_done_by_somebody(desk: Desk) -> None:
    bus = await desk.line.bus()
    sender = SignalSender(bus)
    for view in desk.service._views(sender, Objects(sender, Tasks("test")), bus):
        exported = view.exported
        assert set(exported.methods) == set(exported.contract.methods)
        assert exported.personal <= set(exported.methods)
        writable = {name for name, each in exported.contract.properties.items() if each.access.writable()}
        assert set(exported.setters) == writable


async def test_the_tree_can_be_walked_from_its_root(program: Program) -> None:
    async def walk(path: str) -> list[str]:
        node = await program.introspect(path)
        below = [f"{path.rstrip('/')}/{child.get('name')}" for child in node.findall("node")]
        return [path, *[each for child in below for each in await walk(child)]]

    found = await walk("/")
    objects = ["Efficiency", "Backends", "Routing", "Thermal", "SystemState", "Backends/npu", "Backends/cpu"]
    assert {f"{ROOT_PATH}/{name}" for name in objects} <= set(found)


async def test_the_root_is_the_object_manager_of_all_others(program: Program) -> None:
    for short_name in INTERFACES:
        path = f"{ROOT_PATH}/{OBJECTS[short_name]}".rstrip("/")
        interfaces = [each.get("name") for each in await program.introspect(path)]
        assert (OBJECT_MANAGER in interfaces) is (short_name == "")
        assert "org.freedesktop.DBus.Properties" in interfaces
    everything = await program.ask((ROOT, ROOT_PATH, OBJECT_MANAGER), "GetManagedObjects")
    assert {f"{ROOT_PATH}/{name}" for name in OBJECTS.values() if name} <= everything.keys()
    assert ROOT_PATH not in everything
    told = everything[f"{ROOT_PATH}/Efficiency"][f"{ROOT}.Efficiency"]
    assert str(unpack_variants(told)) == str(await program.get_all("Efficiency"))


async def test_the_root_tells_the_version(program: Program) -> None:
    target = (ROOT, ROOT_PATH, "org.freedesktop.DBus.Properties")
    assert await program.ask(target, "Get", "ss", ROOT, "Version") == Variant("s", __version__)


def test_the_files_of_the_repository_are_those_of_the_package() -> None:
    package = REPOSITORY / "ollama_proxyd" / "edges" / "dbus_api" / "interfaces"
    assert FILES.resolve() == package
    assert sorted(file.name for file in package.iterdir()) == sorted(f"{full(name)}.xml" for name in INTERFACES)


def test_the_activation_file_starts_the_user_unit() -> None:
    parser = configparser.ConfigParser()
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(REPOSITORY / "dbus" / f"{ROOT}.service")
    section = parser["D-BUS Service"]
    assert section["Name"] == ROOT
    assert section["SystemdService"] == "ollama-proxyd.service"
    assert section["Exec"].endswith(" ollama-proxyd")
