"""The daemon's answers as text that a tired person can read."""

from collections.abc import Iterable, Mapping, Sequence

from ollama_proxyd.cli.pictures import (
    BackendInfo,
    Efficiency,
    HoldInfo,
    InForce,
    Machine,
    ModeInfo,
    Served,
    Settings,
    Status,
)

LIMITS = (
    ("max_power_w", "at most {:g} W"),
    ("max_temp_c", "up to {:g} °C"),
    ("max_fan_percent", "fan up to {:g} %"),
    ("max_concurrency", "{:g} requests at once"),
)
SHOWN_MODELS = 3
QUIET: Mapping[bool | None, str] = {True: "now", False: "not now"}
SLEEP: Mapping[bool | None, str] = {True: "asleep", False: "awake"}
JOULES_PER_WH = 3600
SMALL_J = 1000.0
"""From here on an energy is told in watt-hours."""


def status(picture: Status) -> str:
    """The whole screen."""
    parts = {
        "mode": mode(picture.efficiency),
        "backends": backends(picture.backends),
        "machine": machine(picture.machine),
        picture.served.since: served(picture.served),
    }
    return "\n\n".join(f"{head}\n{_indented(text)}" for head, text in parts.items())


def mode(now: InForce) -> str:
    """The mode in force and why; the reason names the hold that counts, the others have a line each."""
    taken = "" if now.mode == now.effective_mode else f" → {now.effective_mode}"
    holds = map(_hold, now.holds) if len(now.holds) > 1 else ()
    return "\n".join([f"{now.mode}{taken}: {now.reason}", *holds])


def modes(now: Efficiency) -> str:
    """Every mode with its price of time and what it allows at most; the chosen one is marked."""
    rows = [
        (
            "*" if row.mode == now.in_force.mode else " ",
            row.mode,
            _price(row),
            quantity(row.max_power_w, "W"),
            quantity(row.max_temp_c, "°C"),
            quantity(row.max_fan_percent, "%"),
            "" if row.max_concurrency is None else str(row.max_concurrency),
        )
        for row in now.modes
    ]
    return table(("", "mode", "a second is worth", "power", "heat", "fan", "requests at once"), rows)


def mode_info(row: ModeInfo) -> str:
    """All that is known of one mode."""
    lines = [("a second of waiting is worth", _price(row)), ("limits", limits(row) or "none")]
    return f"{row.mode}: {row.description}\n{_indented(table(('', ''), [line for line in lines if line[1]]))}"


def limits(row: ModeInfo) -> str:
    """A mode's limits in words, empty when there are none."""
    found = ((words, getattr(row, name)) for name, words in LIMITS)
    return ", ".join(words.format(value) for words, value in found if value is not None)


def backends(all_of_them: Sequence[BackendInfo]) -> str:
    """Each backend in a line."""
    if not all_of_them:
        return "no backend is configured, and none was found on this machine"
    rows = [
        (
            each.id,
            each.hardware,
            state(each),
            quantity(each.rated_power_watts, "W"),
            quantity(each.power_watts, "W"),
            quantity(each.tokens_per_second, "tokens/s"),
            quantity(each.temperature_celsius, "°C"),
            _models(each.models),
        )
        for each in all_of_them
    ]
    return table(("backend", "hardware", "state", "rated", "draws", "speed", "heat", "models"), rows)


def backend(each: BackendInfo) -> str:
    """All that is known of one backend."""
    lines = [
        ("name", each.name),
        ("hardware", each.hardware),
        ("state", state(each)),
        ("rated", quantity(each.rated_power_watts, "W while it answers") or "unknown"),
        ("draws", quantity(each.power_watts, "W now") or _unknown(each, "power_watts")),
        ("speed", quantity(each.tokens_per_second, "tokens/s") or _unknown(each, "tokens_per_second")),
        ("heat", _heat(each) or _unknown(each, "temperature_celsius")),
        ("sleep", SLEEP.get(each.asleep) or _unknown(each, "asleep")),
        ("models", ", ".join(each.models) or "none"),
    ]
    return f"{each.id}\n{_indented(table(('', ''), lines))}"


def _heat(each: BackendInfo) -> str:
    too_hot = ", too hot for this mode" if each.too_hot else ""
    return quantity(each.temperature_celsius, f"°C{too_hot}")


def state(each: BackendInfo) -> str:
    """What a backend does, or why it cannot."""
    if not each.enabled:
        return each.reason or "disabled"
    if each.state != "up":
        return f"{each.state}: {each.reason}" if each.reason else each.state
    if each.reason:
        return f"degraded: {each.reason}"
    if each.in_flight:
        return f"serving {each.in_flight}"
    if each.too_hot:
        return "too hot"
    return "asleep" if each.asleep else "idle"


def machine(now: Machine) -> str:
    """What the sensors say; what they do not say is called unknown, with the reason."""
    return table(("", ""), list(machine_lines(now).items()))


def machine_lines(now: Machine) -> dict[str, str]:
    """What the sensors say, by the names that people read."""
    lines = {
        "power": _power(now) or _unknown(now, "on_battery"),
        "profile": _profile(now) or _unknown(now, "power_profile"),
        "heat": quantity(now.hottest_c, "°C at the hottest device") or _unknown(now, "hottest_c"),
        "fan": quantity(now.fan_percent, "%") or _unknown(now, "fan_percent"),
        "quiet hours": QUIET.get(now.quiet_hours) or _unknown(now, "quiet_hours"),
    }
    return lines | ({"games": f"{now.games} running"} if now.games else {})


def served(sums: Served) -> str:
    """What was done, and what that took."""
    failed = f", {sums.failures} of them failed" if sums.failures else ""
    if not sums.requests:
        return "no requests"
    parts = [f"{_count(sums.requests, 'request')}{failed}", f"about {energy(sums.energy_j)}, estimated", _saved(sums)]
    return "; ".join(part for part in parts if part)


def energy(joules: float) -> str:
    """An amount in the unit in which it is a handy number."""
    if abs(joules) < SMALL_J:
        return f"{number(joules)} J"
    return f"{number(joules / JOULES_PER_WH)} Wh"


def _saved(sums: Served) -> str:
    """What the quickest backends would have used instead; nothing where nothing was compared."""
    if sums.saved_j is None or not sums.compared:
        return ""
    of = "" if sums.compared == sums.requests else f" for {sums.compared} of them"
    if number(abs(sums.saved_j)) == "0":
        return f"as much as the quickest backend would have used{of}"
    which = "less" if sums.saved_j > 0 else "more"
    return f"{energy(abs(sums.saved_j))} {which} than the quickest backend would have used{of}"


def number(value: float) -> str:
    """Three digits that mean something, and no exponents."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers_from: int | None = None) -> str:
    """Columns as wide as their widest cell, numbers to the right; columns and heads without content are left out."""
    lines = [tuple(row) for row in rows]
    columns = [at for at in range(len(heads)) if any(line[at] for line in lines)]
    shown = [tuple(heads), *lines] if any(heads) else lines
    widths = {at: max(len(line[at]) for line in shown) for at in columns}
    sides = {at: "<" if numbers_from is None or at < numbers_from else ">" for at in columns}
    return "\n".join("  ".join(f"{line[at]:{sides[at]}{widths[at]}}" for at in columns).rstrip() for line in shown)


def _hold(hold: HoldInfo) -> str:
    why = f", {hold.reason}" if hold.reason else ""
    return f"held: {hold.mode} by {hold.application_id or 'a program'}{why}"


def _power(now: Machine) -> str:
    if now.on_battery is None:
        return ""
    charge = "" if now.battery_percent is None else f", battery at {number(now.battery_percent)} %"
    return f"{'on battery' if now.on_battery else 'on mains power'}{charge}"


def _profile(now: Machine) -> str:
    degraded = f", held back: {now.performance_degraded}" if now.performance_degraded else ""
    return f"{now.power_profile}{degraded}" if now.power_profile else ""


def _unknown(now: Machine | BackendInfo, name: str) -> str:
    why = now.unknown.get(name)
    return f"unknown: {why}" if why else "unknown"


def _price(row: ModeInfo) -> str:
    """Auto has no price of its own."""
    return "" if row.price_of_time_w is None or row.mode == "Auto" else f"{row.price_of_time_w:g} W"


def _models(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN_MODELS} more" if len(names) > SHOWN_MODELS else ""
    return ", ".join(names[:SHOWN_MODELS]) + more


def settings(now: Settings) -> str:
    """Each setting, and whether it differs from the configuration."""
    rows = [(key, _setting(value), "changed" if key in now.changed else "") for key, value in now.settings.items()]
    return table(("", "", ""), rows)


def _setting(value: bool | float | str) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return value if isinstance(value, str) else number(value)


def quantity(value: float | None, unit: str) -> str:
    """A number with its unit, empty where there is none."""
    return "" if value is None else f"{number(value)} {unit}"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
