"""Other machines of the house: what they share counts with their joules, and is never shared on."""

from dataclasses import replace

import pytest

from ollama_proxyd.core.fleet import BackendView, Health, Profile
from ollama_proxyd.core.house import Machine, Share, bare, is_code
from ollama_proxyd.core.learning import Speed
from ollama_proxyd.core.modes import DEFAULT_TABLE, Mode
from ollama_proxyd.core.policy.sharing import why_not_shared
from ollama_proxyd.core.readings import PowerState, Reading, SystemState
from tests.core.reference_profile import REFERENCE, TINY, ask, backend, device, machine

NPU = REFERENCE[0]
DESKTOP = Machine("desktop", power_w=20.0, on_battery=False, rtt_s=0.004, mains_weight=0.25)
ON_BATTERY, ON_MAINS = (SystemState(on_battery=Reading(each, 0.0)) for each in (True, False))


def shared(by: Machine = DESKTOP) -> BackendView:
    view = backend("desktop/gpu", Profile(None, 0.5, 20))
    return replace(view, spec=replace(view.spec, is_local=False, machine=by.name), machine=by)


def test_joules_of_another_machine_and_the_network_count() -> None:
    (priced,) = ask((shared(),), system=ON_MAINS).ranked
    (unknown,) = ask((shared(replace(DESKTOP, rtt_s=None)),), system=ON_MAINS).ranked
    assert priced.terms["other_machine_j"] == pytest.approx(20 * (priced.prefill_s + priced.decode_s))
    assert priced.terms["network_s"] == 0.004
    assert priced.time_s == pytest.approx(unknown.time_s + 0.004)
    assert priced.cost_j > priced.terms["other_machine_j"] > priced.energy_j


def test_on_battery_joules_of_anothers_mains_count_less() -> None:
    (here_on_mains,) = ask((shared(),), system=ON_MAINS).ranked
    (here_on_battery,) = ask((shared(),), system=ON_BATTERY).ranked
    (both_on_battery,) = ask((shared(replace(DESKTOP, on_battery=True)),), system=ON_BATTERY).ranked
    assert here_on_battery.elsewhere_j == pytest.approx(0.25 * here_on_mains.elsewhere_j)
    assert both_on_battery.elsewhere_j == here_on_mains.elsewhere_j


def test_the_network_counts_until_answers_have_shown_it() -> None:
    seen = replace(shared(), speeds={TINY.name: Speed(0.5, 20, 100, samples=9)})
    (priced,) = ask((seen,), system=ON_MAINS).ranked
    assert priced.network_s == 0


@pytest.mark.parametrize(
    ("view", "system", "share", "wakes", "code"),
    [
        (NPU, ON_MAINS, Share.MAINS, False, None),
        (NPU, ON_BATTERY, Share.MAINS, False, "shares_on_mains"),
        (NPU, ON_BATTERY, Share.ALWAYS, False, None),
        (NPU, SystemState(), Share.MAINS, False, None),
        (NPU, ON_MAINS, Share.NEVER, False, "shares_nothing"),
        (replace(NPU, is_off=True), ON_MAINS, Share.MAINS, False, "shares_awake"),
        (replace(NPU, is_off=True), ON_MAINS, Share.MAINS, True, None),
        (NPU, machine(device("npu", PowerState.ASLEEP)), Share.MAINS, False, "shares_awake"),
        (replace(NPU, health=Health.DOWN), ON_MAINS, Share.MAINS, False, "not_checked_yet"),
        (shared(), ON_MAINS, Share.ALWAYS, True, "shares_nothing"),
    ],
)
def test_what_is_shared(view: BackendView, system: SystemState, share: Share, wakes: bool, code: str | None) -> None:
    no = why_not_shared(view, system, DEFAULT_TABLE[Mode.BALANCED], share, wakes=wakes)
    assert (None if no is None else no.code) == code


def test_a_code_is_eight_digits_however_it_is_written() -> None:
    assert is_code(bare("1234-5678"))
    assert is_code(bare("1234 5678"))
    assert not any(map(is_code, ("", "1234567", "123456789", "1234567a", "١٢٣٤٥٦٧٨")))
