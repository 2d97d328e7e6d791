"""The table of the same fleet at the same moment in another mode: only what the mode changes is compiled anew."""

from collections.abc import Sequence
from itertools import compress
from operator import is_not
from typing import NamedTuple

from ollama_proxyd.core.fleet import BackendView, FleetView
from ollama_proxyd.core.policy.candidates import in_mode, is_only_taught
from ollama_proxyd.core.policy.cost import Candidate
from ollama_proxyd.core.policy.eligibility import Situation
from ollama_proxyd.core.policy.least_costs import Lines
from ollama_proxyd.core.policy.table import Entry, Table


class _Other(NamedTuple):
    """A table in another mode, and the entries in the mode in force that it was made from."""

    seen: Sequence[Entry]
    table: Table


def in_other_mode(table: Table, fleet: FleetView, situation: Situation) -> Table:
    """The moment of a table in another mode, where backends may have other models in memory.

    What changes in place counts as the table has seen it.
    """
    key = id(situation.setting.row)
    known: _Other | None = table.others.get(key)
    if known is not None:
        found = _followed(known, table, fleet, situation)
    else:
        entries = [_entry(each, view, situation) for each, view in zip(table.entries, fleet, strict=True)]
        found = table._replace(
            fleet=fleet, situation=situation, entries=entries, lines=Lines(), tiers={}, met={}, others={}
        )
    table.others[key] = _Other(table.entries, found)
    return found


def _followed(known: _Other, table: Table, fleet: FleetView, situation: Situation) -> Table:
    """The same at another moment."""
    before, entries, tiers = known.table, list(known.table.entries), known.table.tiers
    places, views = range(len(fleet)), before.fleet
    changed = set(compress(places, map(is_not, table.entries, known.seen)))
    changed.update(compress(places, map(is_not, fleet, views)))
    for at in changed:
        was, seen, now, view = entries[at], known.seen[at], table.entries[at], fleet[at]
        is_same = view.loaded is views[at].loaded
        if now is seen and is_same:
            continue
        entries[at] = found = (_taught(now, seen, was) if is_same else None) or _entry(now, view, situation)
        if _standing(found) != _standing(was):
            tiers = {}
    return table._replace(
        fleet=fleet,
        situation=situation,
        entries=entries,
        lines=before.lines.followed(map(table.number_at.__getitem__, changed & table.number_at.keys())),
        tiers=tiers,
        met={},
        others={},
    )


def _entry(entry: Entry, view: BackendView, situation: Situation) -> Entry:
    return in_mode(entry, view, situation) if isinstance(entry, Candidate) else entry


def _taught(now: Entry, seen: Entry, was: Entry) -> Candidate | None:
    """What a backend is in the mode that was only taught more; None where more has changed."""
    if not isinstance(now, Candidate) or not isinstance(seen, Candidate) or not isinstance(was, Candidate):
        return None
    if not is_only_taught(now, seen):
        return None
    return now._replace(
        keeping=was.keeping,
        heat_share=was.heat_share,
        heat_note=was.heat_note,
        noise_share=was.noise_share,
        noise_note=was.noise_note,
        standing=was.standing,
    )


def _standing(entry: Entry) -> object:
    return entry.standing if isinstance(entry, Candidate) else None
