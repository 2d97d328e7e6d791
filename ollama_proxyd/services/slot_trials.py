"""Finds out how many requests a backend answers at once that does not tell: one more than is known is sent."""

from collections.abc import Sequence

from ollama_proxyd.core.fleet import BackendView
from ollama_proxyd.core.requests import WRITING, Operation
from ollama_proxyd.core.slots import MISSES, MOST_SLOTS, Slots, SlotsFrom, after_trial
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.lease import Lease

_UNCERTAIN = frozenset({SlotsFrom.ASSUMED, SlotsFrom.INFERRED})


class SlotTrials:
    """A request that would wait for a full backend may try it: it waits there instead, or proves one slot more."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def may_begin(self, view: BackendView, model: str, operation: Operation) -> bool:
        """Whether one more request may be sent to a backend whose known slots are all taken."""
        if view.slots_from not in _UNCERTAIN or not view.spec.is_local or view.slots >= MOST_SLOTS:
            return False
        leases = self._fleet.leases(view.spec.id)
        if len(leases) != view.slots or operation not in WRITING or not _all_write(leases, model):
            return False
        return leases[0].member.slot_misses.get(view.slots + 1, 0) < MISSES

    def begin(self, lease: Lease, view: BackendView, model: str) -> None:
        """A slot was taken, `view` is from before; beside answers of the same model it shows whether both go on."""
        if not view.in_flight:
            return
        others = [each for each in self._fleet.leases(view.spec.id) if each is not lease]
        if others and view.slots_from in _UNCERTAIN and len(others) + 1 >= view.slots and _all_write(others, model):
            lease.on_begun = lambda: self._judge(lease, others)

    def _judge(self, lease: Lease, others: Sequence[Lease]) -> None:
        """The first words of a request came that was sent while others were written."""
        member, fleet = lease.member, self._fleet
        if not fleet.is_asked(member) or (now := fleet.view(member.id)).slots_from not in _UNCERTAIN:
            return
        width, still = len(others) + 1, set(fleet.leases(member.id))
        known, before = Slots(now.slots, now.slots_from), member.slot_misses.get(width, 0)
        after, misses = after_trial(known, width, before, together=still.issuperset(others))
        member.slot_misses[width] = misses
        if after != known:
            fleet.note_slots(member.id, after)
            fleet.freed.publish(member.id)


def _all_write(leases: Sequence[Lease], model: str) -> bool:
    """Whether each answer is known to be written now, by this model: others may run beside it in any engine."""
    return all(each.is_writing and each.under_way.model == model for each in leases)
