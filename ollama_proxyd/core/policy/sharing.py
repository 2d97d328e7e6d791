"""Whether a backend answers for paired machines now: what its own machine would not ask of it, they may not either."""

from ollama_proxyd.core.binding import device_of
from ollama_proxyd.core.fleet import BackendView
from ollama_proxyd.core.house import Share
from ollama_proxyd.core.modes import ModeRow
from ollama_proxyd.core.policy.mode_limits import outside
from ollama_proxyd.core.readings import PowerState, SystemState, known
from ollama_proxyd.core.reasons import Reason


def why_not_shared(view: BackendView, system: SystemState, row: ModeRow, share: Share, *, wakes: bool) -> Reason | None:
    """Why not; None where it is shared. What is another machine's is never shared on, so nothing goes in circles."""
    backend_id = view.spec.id
    if view.spec.machine is not None or share is Share.NEVER:
        return Reason("shares_nothing", backend_id=backend_id)
    if share is Share.MAINS and known(system.on_battery):
        return Reason("shares_on_mains", backend_id=backend_id)
    if not view.can_serve:
        return view.reason or Reason("not_checked_yet")
    device = device_of(view.spec, system.devices)
    if (no := outside(view, device, system, row)) is not None:
        return no
    sleeps = view.is_off or (device is not None and device.power_state is PowerState.ASLEEP)
    return Reason("shares_awake", backend_id=backend_id) if sleeps and not wakes else None
