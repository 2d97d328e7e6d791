"""Owns what is known of each backend: health, models, and the requests under way."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from math import inf

from ollama_proxyd.core.attempts import AttemptBegun, AttemptEnded, Doubt, doubt
from ollama_proxyd.core.breaker import found_up, tried
from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.failings import why_down
from ollama_proxyd.core.faults import ABOUT_MODELS, Work
from ollama_proxyd.core.fleet import BackendSpec, BackendView, FleetView, Health, Probe
from ollama_proxyd.core.fleet_summary import FleetSummary, summarise
from ollama_proxyd.core.keeping import Memory
from ollama_proxyd.core.known_slots import with_slots
from ollama_proxyd.core.learning import Speed
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.residency import loaded_after, without
from ollama_proxyd.core.slots import Slots
from ollama_proxyd.core.values import replace
from ollama_proxyd.core.watts import Watts
from ollama_proxyd.core.workload import UnderWay
from ollama_proxyd.services.cell import Cell, Topic
from ollama_proxyd.services.circuits import Circuits
from ollama_proxyd.services.inventory import BackendConfig, FleetChanges
from ollama_proxyd.services.lease import Lease, Member, taken_out
from ollama_proxyd.services.ports import Backend, Clock
from ollama_proxyd.services.switches import NOT_CHECKED, REMOVED, Switches, at_first, why_unasked

log = logging.getLogger(__name__)


class Fleet:
    """The one owner of backends and their state; `views` is the latest picture, `is_serving` whether any is up.

    Backends that are switched off are shown and never asked. `speeds` gives a live view of what was learned of one.
    """

    def __init__(
        self,
        make: Callable[[BackendConfig], Backend],
        clock: Clock,
        speeds: Callable[[str], Mapping[str, Speed]],
        switches: Switches,
    ) -> None:
        self._make, self._clock = make, clock
        self._speeds, self._switches = speeds, switches
        self.members: Mapping[str, Member] = {}
        """The backends that may be asked, unless they are switched off; replaced as a whole."""
        self._draining: list[Member] = []
        """Members that were removed or replaced while requests were under way on them."""
        self._index: dict[str, int] = {}
        self.yielding = 0
        self.due = asyncio.Event()
        """Set when the backends should be checked before the interval is over."""
        self.changed_s = clock.monotonic()
        """When the health of a backend was seen to change last."""
        self.views: Cell[FleetView] = Cell(())
        self.is_serving: Cell[bool] = Cell(False)
        self.summary: Cell[FleetSummary] = Cell(FleetSummary())
        self.checked: Topic[BackendView] = Topic()
        """Each backend that was found up, as it was found."""
        self.reconciled: Topic[FleetChanges] = Topic()
        self.sent: Topic[AttemptBegun] = Topic()
        """Each request that is being sent to a backend; the end of its attempt follows."""
        self.attempts: Topic[AttemptEnded] = Topic()
        self.circuits = Circuits(clock)
        self.occupied: Topic[bool] = Topic()
        """Whether a backend has taken up work, or has none left: `at_work` has others from now on."""
        self.writing: Topic[str] = Topic()
        """The id of each backend from which the first words of an answer came."""
        self.freed: Topic[str] = Topic()
        """The id of each backend of which a slot was given back."""

    def reconcile(self, wanted: Sequence[BackendConfig]) -> FleetChanges:
        """Have exactly these backends; where one cannot be made it raises, and nothing has changed.

        An unchanged backend keeps its state. A changed one is replaced, a removed one takes no new requests; requests
        under way on either go on, and hold slots of the engine there.
        """
        members = {each.spec.id: self._member_for(each) for each in wanted}
        before, known = self.members, self._by_id()
        gone = [member for backend_id, member in before.items() if members.get(backend_id) is not member]
        views = [self._view(members[each.spec.id], each, known.get(each.spec.id)) for each in wanted]
        for each in wanted:
            members[each.spec.id].config = each
        self.members = members
        self._draining += [member for member in gone if member.in_flight]
        self._show(views, known)
        changes = FleetChanges(
            added=frozenset(members.keys() - before.keys()),
            changed=frozenset(member.id for member in gone if member.id in members),
            removed=frozenset(before.keys() - members.keys()),
        )
        self.reconciled.publish(changes)
        return changes

    def _member_for(self, config: BackendConfig) -> Member:
        member = self.members.get(config.spec.id)
        return member if member is not None and member.is_for(config) else Member(config, self._make(config))

    def _view(self, member: Member, config: BackendConfig, known: BackendView | None) -> BackendView:
        """What is known of a backend under its new configuration."""
        now, why_off = self.members.get(member.id), self._switches.why_off(config)
        is_switched = known is None or (why_off or NOT_CHECKED) != why_unasked(known)
        if known is not None and now is member:
            return replace(known, **at_first(why_off)) if is_switched else known
        if known is not None and now is not None and now.is_same_engine(config) and not is_switched:
            return with_slots(replace(known, spec=config.spec), config.spec)
        view = BackendView(
            config.spec,
            **at_first(why_off),
            in_flight=len(self.leases(member.id, config)),
            speeds=self._speeds(member.id),
            watts=None if known is None else known.watts,
        )
        return with_slots(view, config.spec)

    def _show(self, views: list[BackendView], known: Mapping[str, BackendView]) -> None:
        """Show these and the removed ones on which requests are under way."""
        removed = dict.fromkeys(member.id for member in self._draining if member.id not in self.members)
        views += [replace(known[each], **at_first(REMOVED), in_flight=len(self.leases(each))) for each in removed]
        self._index = {view.spec.id: at for at, view in enumerate(views)}
        self.views.set(tuple(views))
        self._note_health(summarise(self.views.value))

    def at_work(self) -> Sequence[BackendSpec]:
        """The backend of each request under way, replaced and removed ones where they were."""
        return [each.config.spec for each in (*self.members.values(), *self._draining) for _ in each.leases]

    def has(self, backend_id: str) -> bool:
        """Whether there is such a backend."""
        return backend_id in self.members

    def backend(self, backend_id: str) -> Backend:
        """The engine behind an id; raises ProxyError for one that was taken out."""
        try:
            return self.members[backend_id].backend
        except KeyError:
            raise taken_out(backend_id) from None

    def view(self, backend_id: str) -> BackendView:
        """What is known of one backend now; raises KeyError for one that is not configured."""
        return self.views.value[self._index[backend_id]]

    def set_enabled(self, backend_id: str, enabled: bool) -> None:
        """Switch a backend on or off, and keep that over restarts; raises KeyError for one that is not configured.

        Requests under way on it finish. One that was switched on serves as soon as a check has found it up.
        """
        config, now = self.members[backend_id].config, self.view(backend_id)
        self._switches.set(config, enabled)
        if enabled is not (now.health is Health.DISABLED):
            return
        log.info("backend %s is switched %s", backend_id, "on" if enabled else "off")
        self._put(replace(now, **at_first(self._switches.why_off(config)), breakers=()))
        if enabled:
            self.due.set()

    def lease(self, backend_id: str, work: Work | None = None, expected_s: float = 0.0) -> Lease:
        """Take a slot of a backend for some work; raises KeyError for one that is not configured."""
        member, before = self.members[backend_id], self.views.value[self._index[backend_id]]
        breakers = tried(before.breakers, work) if before.breakers and work is not None else before.breakers
        tries = work if breakers != before.breakers else None
        if member.config.requests_per_minute is not None:
            breakers = self.circuits.after_sending(before, member.rest_s(self._clock.monotonic()), breakers)
        lease = Lease(member, self, UnderWay(self._clock.monotonic(), expected_s, work.model if work else None), tries)
        self._put(replace(before, in_flight=before.in_flight + 1, breakers=breakers))
        if len(member.leases) == 1:
            self.occupied.publish(True)
        return lease

    def leases(self, backend_id: str, config: BackendConfig | None = None) -> Sequence[Lease]:
        """The slots of a backend that are taken, now or under `config`; of a replaced one those at its address."""
        member = self.members.get(backend_id)
        known = [each for each in (member, *self._draining) if each is not None and each.id == backend_id]
        config = config or (member.config if member else None)
        return [lease for each in known if config is None or each.is_at(config) for lease in each.leases]

    def give_back(self, lease: Lease) -> None:
        """A slot of a backend is free again."""
        self._count_down(lease)
        if not lease.member.leases:
            self.occupied.publish(False)
        self.freed.publish(lease.member.id)

    def _count_down(self, lease: Lease) -> None:
        member, is_known = lease.member, self.members.get(lease.member.id) is lease.member
        is_shown = is_known or lease in self.leases(member.id)
        member.release(lease, self._clock.monotonic())
        if not is_known and not member.leases:
            self._draining.remove(member)
            if member.id not in self.members and not self.leases(member.id):
                self._show([view for view in self.views.value if view.spec.id in self.members], self._by_id())
                return
        now, tries = self.view(member.id), lease.tries if is_known else None
        self._put(replace(now, in_flight=now.in_flight - is_shown, breakers=self.circuits.after_trial(now, tries)))

    def _by_id(self) -> Mapping[str, BackendView]:
        return {view.spec.id: view for view in self.views.value}

    def note_begun(self, member: Member, tries: Work | None, rest_s: float | None) -> None:
        """A backend gave its first words that is tried, or that wants to be left alone."""
        if self.members.get(member.id) is member:
            now = self.view(member.id)
            self._put(replace(now, breakers=self.circuits.after_begin(now, tries, rest_s)))

    def note_ended(self, lease: Lease, ended: AttemptEnded, failure: ProxyError | None) -> None:
        """Publish the end of an attempt, and take note of what it says of its backend."""
        member = lease.member
        if self.members.get(member.id) is member:
            self._learn(lease, ended, failure)
        doubts = Doubt.NONE if failure is None or not self.is_asked(member) else doubt(failure)
        if doubts is Doubt.DOWN and failure is not None and member.is_down_after_failure():
            self.note_down(member.id, why_down(member.id, failure))
        if doubts is not Doubt.NONE:
            self.due.set()
        self.attempts.publish(ended)

    def _learn(self, lease: Lease, ended: AttemptEnded, failure: ProxyError | None) -> None:
        """What passed through changes the picture at once; for the rest the backend is asked when that is needed."""
        member, now = lease.member, self.views.value[self._index[ended.backend_id]]
        breakers = self.circuits.after_end(now, ended, failure.retry_after_s if failure else None)
        loaded, is_doubtful = loaded_after(now, ended), ended.fault in ABOUT_MODELS
        if breakers is not now.breakers or loaded is not now.loaded:
            self._put(replace(now, breakers=breakers, loaded=loaded))
        if loaded is not now.loaded or is_doubtful:
            member.asked_s = -inf
            self.due.set()

    def note_unloaded(self, backend_id: str, model: str) -> None:
        """A backend has let go of a model; nothing is noted of one that is not configured."""
        if self.has(backend_id):
            now, self.members[backend_id].asked_s = self.view(backend_id), -inf
            self._put(replace(now, loaded=without(now.loaded, model)))

    def note_slots(self, backend_id: str, slots: Slots) -> None:
        """How many requests a backend answers at once, as they have shown."""
        log.info("backend %s answers %d requests at once", backend_id, slots.count)
        self._put(replace(self.view(backend_id), slots=slots.count, slots_from=slots.source))

    def note_watts(self, backend_id: str, watts: Watts | None) -> None:
        """What a backend was measured to draw at work; nothing is noted of one that is not configured."""
        if backend_id in self._index:
            self._put(replace(self.view(backend_id), watts=watts))

    def note_memory(self, backend_id: str, memory: Memory) -> None:
        """What is known of keeping models in a backend's memory."""
        self._put(replace(self.view(backend_id), memory=memory))

    def note_degraded(self, backend_id: str, why: Reason | None) -> None:
        """A backend serves worse than it should, or None when it does so no longer."""
        now = self.view(backend_id)
        if now.degraded == why:
            return
        told = f"degraded: {why}" if why else "no longer taken to be degraded"
        log.log(logging.WARNING if why else logging.INFO, "backend %s is %s", backend_id, told)
        self._put(replace(now, degraded=why))

    def is_asked(self, member: Member) -> bool:
        """Whether a backend is checked: it may have been replaced or switched off while a check was under way."""
        return self.members.get(member.id) is member and self.view(member.id).health is not Health.DISABLED

    def note_up(self, backend_id: str, probe: Probe) -> None:
        """A check found a backend up."""
        now = self.view(backend_id)
        if now.health is not Health.UP:
            self.members[backend_id].slot_misses.clear()
            log.info("backend %s is up; models: %d", backend_id, len(probe.models))
        spec = replace(now.spec, flavor=probe.flavor) if probe.flavor else now.spec
        names = ("models", "loaded", "version", "start_s", "is_off", "machine", "unusable")
        seen_s = self._clock.monotonic()
        told = {name: getattr(probe, name) for name in names} | {"breakers": found_up(now.breakers, seen_s)}
        known = with_slots(now, spec, probe.slots)
        self._put(replace(known, spec=spec, health=Health.UP, health_reason=None, checked_at_s=seen_s, **told))
        self.checked.publish(self.view(backend_id))

    def note_down(self, backend_id: str, reason: Reason) -> None:
        """A check, or a request, found a backend down."""
        now = self.view(backend_id)
        if now.health is not Health.DOWN:
            log.warning("backend %s is down: %s", backend_id, reason)
        # A restart may have mended it, so how it served before says nothing.
        seen_s = self._clock.monotonic()
        self._put(replace(now, health=Health.DOWN, health_reason=reason, degraded=None, checked_at_s=seen_s))

    def _put(self, view: BackendView) -> None:
        was = (views := self.views.value)[at := self._index[view.spec.id]]
        if view.in_flight != was.in_flight or view != was:
            self.views.renew((*views[:at], view, *views[at + 1 :]))
        is_news = was.health is not view.health or was.degraded != view.degraded or was.breakers is not view.breakers
        if is_news or (view.breakers and view.models != was.models):
            self._note_health(self.summary.value.after(was, view))

    def _note_health(self, summary: FleetSummary) -> None:
        self.changed_s = self._clock.monotonic()
        self.is_serving.set(any(each.health is Health.UP for each in self.views.value))
        self.summary.set(summary)
