"""The least that a day could cost: a bound that no schedule passes, one that knows all lengths included."""

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from ollama_proxyd.core.requests import Operation
from ollama_proxyd.sim.engine import BATCH_POWER
from ollama_proxyd.sim.machines import Device, Machine
from ollama_proxyd.sim.traffic import Job

CELL_S = 2.0
"""A device's rent is constant for so long."""
AFTER_S = 600.0
"""So long after the last request there are rents."""
ROUNDS = 30
"""How often the rents are mended."""
STRIDE = 0.1
"""How far they go at first, as a share of what all working times are worth."""
SHORTER = 0.6
"""What a stride is of the one before, once several brought nothing."""
PATIENCE = 4


class _Way(NamedTuple):
    """A request on a device: how long it works there at least, and what that costs where nothing else is there."""

    device: int
    busy_s: float
    cost_j: float


class _Asked(NamedTuple):
    """A request that somebody waits for."""

    at_s: float
    ways: Sequence[_Way]


def lower_bound_j(machine: Machine, jobs: Sequence[Job], price_w: float) -> float:
    """What a day costs at least, in joules with the waiting at a price.

    Each request is priced as if it were alone: nothing slows it, the best prefix is cached, in a full batch its share
    of the watts is the least. Its model is loaded anew, or was kept since the last request of any kind; work in such a
    gap is credited at the tail's watts. What remains of the others is that a slot serves one request at a time, since
    each second of waiting has its price. That is the dual of this problem: a slot has a rent for each moment, each
    request goes where and when its own cost and its rent are least, and the rents of all slots are taken off. For
    whatever rents of zero or more the sum is a bound: a schedule pays at most the rent of all slots and has each
    request at a time and a place of its choice. Work in the background waits for nothing and pays none.
    """
    free_j, asked = 0.0, list[_Asked]()
    before_s, seen = -math.inf, set[str]()
    for job in jobs:
        gap_s = job.at_s - before_s if job.model in seen else math.inf
        price = 0.0 if job.background else price_w
        able = [(number, each) for number, each in enumerate(machine.devices) if each.holds(job.model)]
        ways = [_alone(number, device, job, (gap_s, price)) for number, device in able]
        if job.background:
            free_j += min([way.cost_j for way in ways])
        else:
            asked.append(_Asked(job.at_s, ways))
        before_s = job.at_s
        seen.add(job.model)
    return free_j + _with_rents(asked, [device.slots for device in machine.devices], price_w)


def _alone(number: int, device: Device, job: Job, times: tuple[float, float]) -> _Way:
    gap_s, price_w = times
    busy_s = device.prefill_time_s(job.model, job.new_tokens)
    if job.operation is not Operation.EMBEDDING:
        busy_s += device.decode_time_s(job.model, job.output_tokens)
    load_j, load_s = device.load_energy_j(job.model), device.load_time_s(job.model)
    if device.resident_w * gap_s < load_j + price_w * load_s:
        load_j, load_s = device.resident_w * gap_s, 0.0
    work_j = (device.power_w * _least_share(device) - device.resident_w) * busy_s
    return _Way(number, busy_s, work_j + load_j + price_w * (busy_s + load_s))


def _least_share(device: Device) -> float:
    """What a request draws at least in a batch, as a share of what it draws alone."""
    batches = [(1 + BATCH_POWER * more) * (1 + device.slope * more) / (1 + more) for more in range(device.slots)]
    return min(batches)


class _Rents:
    """What each device's slots cost at each moment."""

    def __init__(self, slots: Sequence[int], cells: int) -> None:
        self._slots = slots
        self.each_w = [[0.0] * cells for _ in slots]
        self.paid_j = [[0.0] * (cells + 1) for _ in slots]
        """The rent of a slot from the beginning to each cell."""

    @property
    def all_j(self) -> float:
        """Those of all slots."""
        return sum([count * paid_j[-1] for count, paid_j in zip(self._slots, self.paid_j, strict=True)])

    def until_j(self, device: int, at_s: float) -> float:
        """The rent of a slot from the beginning to a moment."""
        cell = int(at_s / CELL_S)
        rents_w, paid_j = self.each_w[device], self.paid_j[device]
        return paid_j[-1] if cell >= len(rents_w) else paid_j[cell] + rents_w[cell] * (at_s - cell * CELL_S)

    def best(self, way: _Way, at_s: float, price_w: float) -> tuple[float, float]:
        """When a request begins there at the least rent and waiting, and what these are together.

        Both are straight between moments at which it begins or ends with a cell.
        """

        def cost_j(begin_s: float) -> float:
            rent_j = self.until_j(way.device, begin_s + way.busy_s) - self.until_j(way.device, begin_s)
            return price_w * (begin_s - at_s) + rent_j

        least_j, begins_s = cost_j(at_s), at_s
        for shift_s in (0.0, way.busy_s):
            cell = int((at_s + shift_s) / CELL_S) + 1
            while price_w * ((begin_s := cell * CELL_S - shift_s) - at_s) < least_j:
                if (found_j := cost_j(begin_s)) < least_j:
                    least_j, begins_s = found_j, begin_s
                cell += 1
        return least_j, begins_s

    def mended(self, used_s: Sequence[Sequence[float]], stride_j: float) -> None:
        """Raise what too many want, and lower what is free."""
        wanted = [
            [use_s - count * CELL_S if use_s > count * CELL_S or rent_w > 0 else 0.0 for use_s, rent_w in pairs]
            for count, pairs in (
                (count, zip(used_s[number], self.each_w[number], strict=True))
                for number, count in enumerate(self._slots)
            )
        ]
        norm = sum([each * each for cells in wanted for each in cells])
        for number, cells in enumerate(wanted if norm else ()):
            rents_w = self.each_w[number]
            rents_w[:] = [
                max(rent_w + stride_j / norm * each, 0.0) for rent_w, each in zip(rents_w, cells, strict=True)
            ]
            self.paid_j[number] = list(accumulate([CELL_S * each for each in rents_w], initial=0.0))


def _with_rents(asked: Sequence[_Asked], slots: Sequence[int], price_w: float) -> float:
    """The best bound that some rounds of mending the rents bring; the first one is without any."""
    cells = int((max([each.at_s for each in asked], default=0.0) + AFTER_S) / CELL_S)
    rents, best_j, vain = _Rents(slots, cells), -math.inf, 0
    stride_j = STRIDE * price_w * sum([min([way.busy_s for way in each.ways]) for each in asked])
    for _ in range(ROUNDS):
        total_j, used_s = -rents.all_j, [[0.0] * cells for _ in slots]
        for each in asked:
            found = [(way, *rents.best(way, each.at_s, price_w)) for way in each.ways]
            way, more_j, begins_s = min(found, key=lambda one: one[0].cost_j + one[1])
            total_j += way.cost_j + more_j
            _use(used_s[way.device], begins_s, begins_s + way.busy_s)
        vain = 0 if total_j > best_j else vain + 1
        best_j = max(best_j, total_j)
        if vain == PATIENCE:
            stride_j, vain = SHORTER * stride_j, 0
        rents.mended(used_s, stride_j)
    return best_j


def _use(used_s: list[float], begins_s: float, ends_s: float) -> None:
    """Note a slot that is taken."""
    for cell in range(int(begins_s / CELL_S), min(int(ends_s / CELL_S) + 1, len(used_s))):
        used_s[cell] += min(ends_s, (cell + 1) * CELL_S) - max(begins_s, cell * CELL_S)
