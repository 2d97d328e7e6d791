"""Owns the energy accounts of devices: what each attempt, each idle tail and the rest of the machine cost."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.battery_gauge import GAUGE_ERROR, BatteryGauge
from ollama_proxyd.core.binding import device_of
from ollama_proxyd.core.energy import Account, Energy, Source
from ollama_proxyd.core.energy_sums import Sums, together
from ollama_proxyd.core.events import Finished
from ollama_proxyd.core.fleet import BackendSpec, BackendView, Hardware, Health
from ollama_proxyd.core.gauge import Gauge, gauge_of
from ollama_proxyd.core.policy.residence import idle_power_w
from ollama_proxyd.core.power_domain import Key, PowerDomain, look_at
from ollama_proxyd.core.power_shares import PREFILL_SHARE, Rates, Share, by_phase
from ollama_proxyd.core.readings import DeviceState, PowerState, Reading, SystemState, known
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.status import EnergyAccount
from ollama_proxyd.core.values import replace
from ollama_proxyd.services.cell import Cell, Topic
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.tasks import Tasks

PACKAGE = "package"
"""The processor with all that is integrated in it: one counter covers them."""
MACHINE = "machine"
"""All that the battery feeds and that is no device of these accounts."""
INTEGRATED = frozenset({Hardware.CPU, Hardware.IGPU, Hardware.NPU})
LEAST_W = 1e-3
"""Work is expected to draw something."""
NOBODY = ("", "")


@dataclass(slots=True, eq=False)
class Metered:
    """An attempt whose energy is accounted; `ended` is None while it runs."""

    domain: PowerDomain
    share: Share
    spec: BackendSpec
    model: str
    begun_s: float
    prompt_tokens: int
    clock: Clock
    first_s: float | None = None
    is_charged: bool = False
    """Whether nothing more is charged to it."""
    is_settled: bool = False
    """Whether the reading that tells what it cost has come."""
    ended: AttemptEnded | None = None

    def energy(self, *, stream: bool, finished: Finished) -> Energy:
        """What it cost as far as is known."""
        share, waited_s = self.share, None
        if self.ended is None and not self.is_charged:
            self.domain.advance(self.clock.monotonic())
        if stream and self.first_s is not None:
            waited_s = self.first_s - self.begun_s
        so_far = self.domain.so_far(share)
        phases = by_phase(so_far.before_j, so_far.after_j, waited_s, finished.timings)
        return Energy(*phases, source=so_far.source, error_share=so_far.error_share)


class EnergyAccounts:
    """The one owner; `booked` tells each ended attempt once, with its energy as it stands in the books.

    Where instruments tell what a device draws that is up to one reading after the end, else at once.
    """

    def __init__(self, system: Cell[SystemState], fleet: Fleet, clock: Clock) -> None:
        self._system = system
        self._fleet = fleet
        self._clock = clock
        self._domains: dict[str, PowerDomain] = {}
        self._battery = BatteryGauge()
        self._metered: dict[Share, Metered] = {}
        """Attempts that run, or wait for the reading that tells what they cost."""
        self._served: set[str] = set()
        """Backends that have served: where they do not say what is in memory, the model is."""
        self._holding: dict[str, bool] = {}
        """Whether a model lies in a backend's memory, as was seen last."""
        self._date, self._before = clock.local_date(), Sums()
        """Today, and the sums at its beginning."""
        self._left = self._date, Sums()
        """The day before that, and what it came to."""
        self.booked: Topic[AttemptEnded] = Topic()
        fleet.checked.listen(self._note_memory)
        fleet.attempts.listen(self._note_end)
        fleet.reconciled.listen(lambda _: self._look_at_memory())

    def follow(self, tasks: Tasks) -> None:
        """Look whenever a sensor says something."""
        tasks.start("energy.sensors", self._system.follow(self._look))

    def begin(self, spec: BackendSpec, model: str, power_w: float, prompt_tokens: int) -> Metered:
        """An attempt begins at a backend."""
        self._turn_page()
        now_s, device = self._clock.monotonic(), device_of(spec, self._system.value.devices)
        domain = self._domain_of(device, spec.id)
        consumer = domain.consumer(spec.id if device is None else device.id)
        domain.advance(now_s)
        if consumer.tail_s and not domain.is_measured:
            domain.end_tail(consumer)
        share = consumer.begin(max(power_w, LEAST_W))
        consumer.idle_w, consumer.owner = idle_power_w(spec.profile, spec.hardware), (spec.id, model)
        metered = self._metered[share] = Metered(domain, share, spec, model, now_s, prompt_tokens, self._clock)
        return metered

    def first(self, metered: Metered, now_s: float) -> None:
        """The first token came."""
        metered.first_s = now_s
        metered.domain.first(metered.share, now_s)

    def end(self, metered: Metered, now_s: float, finished: Finished, *, stream: bool) -> Energy:
        """The attempt ends: what it cost, as far as is known. `book` follows."""
        rates = _rates(metered, now_s, finished) if metered.domain.is_measured else None
        metered.is_charged = metered.domain.end(metered.share, now_s, rates)
        return metered.energy(stream=stream, finished=finished)

    def book(self, metered: Metered, ended: AttemptEnded) -> None:
        """Take note of how it ended."""
        metered.ended = ended
        if metered.is_settled:
            self._tell(metered)
        elif metered.is_charged:
            del self._metered[metered.share]
            self.booked.publish(ended)

    def _note_end(self, ended: AttemptEnded) -> None:
        if ended.succeeded:
            self._served.add(ended.backend_id)
        if self._fleet.has(ended.backend_id):
            self._note_memory(self._fleet.view(ended.backend_id))

    def _tell(self, metered: Metered) -> None:
        ended = metered.ended
        if ended is None:
            metered.is_settled = True
            return
        self._metered.pop(metered.share, None)
        finished = Finished(usage=ended.usage, timings=ended.timings)
        energy = metered.energy(stream=ended.stream, finished=finished)
        self.booked.publish(ended if energy == ended.energy else replace(ended, energy=energy))

    def _look(self, system: SystemState) -> None:
        """Charge what instruments show, and learn what the machine draws without us."""
        self._turn_page()
        self._look_at_memory()
        now_s, devices = self._clock.monotonic(), {each.id: each for each in system.devices}
        for each in system.devices:
            self._domain_of(each, "")
        integrated = [device for device in system.devices if device.hardware in INTEGRATED]
        for domain in self._domains.values():
            device = devices.get(domain.id)
            within = integrated if domain.id == PACKAGE else [] if device is None else [device]
            is_asleep = device is not None and device.power_state is PowerState.ASLEEP
            self._settle(domain, now_s, gauge_of(within, now_s), is_asleep=is_asleep)
        self._look_at_battery(system, now_s)

    def _look_at_battery(self, system: SystemState, now_s: float) -> None:
        """Have the battery tell of the devices that have no instruments."""
        rate_w, battery = system.battery_rate_w, self._battery
        if known(system.battery_state) != "discharging" or not isinstance(rate_w, Reading):
            battery.pause()
        else:
            battery.note(look_at(self._domains.values(), now_s, rate_w.value))
        for domain in self._domains.values():
            for consumer in domain.consumers.values():
                consumer.told = battery.told(consumer.id)

    def _settle(self, domain: PowerDomain, now_s: float, gauge: Gauge | None, *, is_asleep: bool = False) -> None:
        for share in domain.settle(now_s, gauge, is_asleep=is_asleep):
            self._tell(self._metered[share])

    def _note_memory(self, view: BackendView) -> None:
        """Look at what is in memory, where that may have changed."""
        if self._holding.get(view.spec.id) is not self._holds(view):
            self._look_at_memory()

    def _look_at_memory(self) -> None:
        """Take note of the devices in whose memory a model lies."""
        now_s, devices, held = self._clock.monotonic(), self._system.value.devices, set()
        views = self._fleet.views.value
        self._holding = {view.spec.id: self._holds(view) for view in views}
        self._served.intersection_update(self._holding)
        for view in views:
            spec = view.spec
            if not self._holding[spec.id]:
                continue
            device = device_of(spec, devices)
            consumer = self._domain_of(device, spec.id).consumer(spec.id if device is None else device.id)
            held.add(consumer.id)
            if consumer.owner == NOBODY:
                loaded = view.loaded or ()
                consumer.owner = spec.id, loaded[0].name if loaded else ""
                consumer.idle_w = idle_power_w(spec.profile, spec.hardware)
        for domain in self._domains.values():
            domain.advance(now_s)
            for consumer in domain.consumers.values():
                consumer.is_resident = consumer.id in held

    def _holds(self, view: BackendView) -> bool:
        """Whether a model lies in a backend's memory here; one that does not say holds what it has served."""
        if not view.spec.is_local or view.health is not Health.UP:
            return False
        return view.spec.id in self._served if view.loaded is None else bool(view.loaded)

    def _domain_of(self, device: DeviceState | None, backend_id: str) -> PowerDomain:
        """What one counter covers: the package, a card, or what a backend of no known device runs on."""
        is_integrated = device is not None and device.hardware in INTEGRATED
        domain_id = backend_id if device is None else PACKAGE if is_integrated else device.id
        if domain_id not in self._domains:
            can_sleep = device is not None and not is_integrated
            self._domains[domain_id] = PowerDomain(
                domain_id, self._clock.monotonic(), is_shared=is_integrated, can_sleep=can_sleep
            )
        return self._domains[domain_id]

    def close(self) -> None:
        """Charge what is open by estimate: no reading comes any more."""
        for domain in self._domains.values():
            self._settle(domain, self._clock.monotonic(), None)

    def unused_w(self, spec: BackendSpec) -> float | None:
        """What an unused model draws in its card's memory; None where instruments have not shown it."""
        device = device_of(spec, self._system.value.devices)
        return None if device is None or device.hardware in INTEGRATED else self._domain_of(device, "").unused_w

    @property
    def totals(self) -> Sums:
        """Joules since the daemon started, up to the last reading of sensors or the last attempt."""
        parts = [Sums(domain.sums, domain.errors) for domain in self._domains.values()]
        if base_j := self._battery.base_j:
            key = MACHINE, Account.BASE, Source.ATTRIBUTED
            parts.append(Sums({key: base_j}, {key: base_j * GAUGE_ERROR}))
        return together(parts)

    @property
    def today(self) -> Sums:
        """Joules since local midnight, or since the daemon started where that was later."""
        self._turn_page()
        return self.totals.since(self._before)

    def _turn_page(self) -> None:
        """Begin a new day where the date is another one."""
        if (date := self._clock.local_date()) != self._date:
            again = self._left[1] if date == self._left[0] else Sums()  # a clock that is set may show a day again
            self._left = self._date, self.totals.since(self._before)
            self._date, self._before = date, self.totals.since(again)

    @property
    def tails(self) -> Mapping[tuple[str, str], float]:
        """Joules of idle tails since the daemon started, by the backend and the model that caused them."""
        tails: defaultdict[tuple[str, str], float] = defaultdict(float)
        for domain in self._domains.values():
            for owner, joules in domain.tails.items():
                tails[owner] += joules
        return tails

    def accounts(self) -> tuple[EnergyAccount, ...]:
        """Each account; an unknown one has its reason."""
        totals, today = self.totals, self.today
        told = [
            EnergyAccount(*_names(key), today.joules[key], today.errors_j[key], joules, totals.errors_j[key])
            for key, joules in sorted(totals.joules.items(), key=lambda each: (each[0][0], each[0][1].value))
        ]
        based = {each.device for each in told if each.account == Account.BASE.value}
        unknown = [each.id for each in self._domains.values() if each.base_w is None and each.id not in based]
        why = [(each, Reason("base_not_seen", device=each)) for each in unknown]
        return (*told, *[EnergyAccount(each, Account.BASE.value, reason=reason) for each, reason in why])


def _names(key: Key) -> tuple[str, str, str]:
    device, account, source = key
    return device, account.value, source.value


def _rates(metered: Metered, now_s: float, finished: Finished) -> Rates | None:
    """How fast it read and wrote, where the backend counted its tokens."""
    written, usage = finished.usage.completion_tokens, finished.usage
    if not written or written < 0:
        return None
    first_s = now_s if metered.first_s is None else metered.first_s
    read = max((usage.prompt_tokens or metered.prompt_tokens) - (usage.cached_tokens or 0), 1)
    reading_s, writing_s = first_s - metered.begun_s, now_s - first_s
    work = PREFILL_SHARE * read
    if writing_s <= 0:
        work, writing_s = work + written, 1.0
    return Rates(work / reading_s if reading_s > 0 else 0.0, written / writing_s)
