"""The daemon's JSON as text that a tired person can read; the keys are those of docs/http-api.md."""

from collections.abc import Mapping, Sequence
from time import localtime, strftime
from typing import Any

from ollama_proxyd.cli import render_engines
from ollama_proxyd.cli.amounts import count, number
from ollama_proxyd.cli.brief import brief
from ollama_proxyd.cli.render_today import today
from ollama_proxyd.cli.tables import table

LIMITS = (
    ("max_power_watts", "at most {:g} W"),
    ("max_temperature_celsius", "up to {:g} °C"),
    ("max_fan_percent", "fan up to {:g} %"),
    ("max_concurrency", "{:g} requests at once"),
    ("max_wait_seconds", "waits up to {:g} s"),
)
SHOWN_MODELS = 3
QUIET: Mapping[bool | None, str] = {True: "now", False: "not now"}
SLEEP: Mapping[bool | None, str] = {True: "asleep", False: "awake"}


def status(now: Any) -> str:
    """The whole screen."""
    parts = {
        "mode": mode(now),
        "backends": backends(now["backends"]),
        **({"queue": queue(now["queue"])} if now["queue"]["waiting"] or now["queue"]["deferred"] else {}),
        **({"front ends": frontends(now["frontends"])} if now["frontends"] else {}),
        **({"models to pull": model_sync(now["model_sync"])} if now["model_sync"] else {}),
        **({"engines": render_engines.engines(now)} if any(map(now.get, render_engines.ANY_OF)) else {}),
        "machine": machine(now["system"]),
        "today": today(now),
    }
    return "\n\n".join(f"{head}\n{_indented(text)}" for head, text in parts.items())


def frontends(all_of_them: Sequence[Any]) -> str:
    """Each front end in a line."""
    rows = [
        (
            each["name"],
            _places(each),
            each["balancing"],
            ", ".join(each["allowed_models"]) or "all models",
            count(each["requests"], "request"),
            ", ".join(
                f"{each[key]} {word}" for key, word in (("errors", "failed"), ("refused", "refused")) if each[key]
            ),
        )
        for each in all_of_them
    ]
    return table(("front end", "at", "chooses by", "serves", "since the start", ""), rows)


def model_sync(pulls: Sequence[Any]) -> str:
    """Each model that a front end requires and a backend lacks."""
    return "\n".join(f"{each['model']} to {each['backend']}: {_pull(each)}" for each in pulls)


def _pull(each: Any) -> str:
    of, done = each["total_bytes"], each["completed_bytes"]
    far = [f"{100 * done // of} % of {of / 1e9:.1f} GB"] if of else []
    again = [f"again in {each['retry_seconds']:.0f} s"] if each["retry_seconds"] is not None else []
    return brief(", ".join([each["state"], *far, *([each["reason"]] if each["reason"] else []), *again]))


def _places(frontend: Any) -> str:
    port, path = frontend["port"], frontend["unix_socket"]
    return ", ".join([*frontend["hosts"], *([f"port {port}"] if port else []), *([path] if path else [])])


def queue(now: Any) -> str:
    """Who waits for a backend, and for how long; and how many wait for the charger."""
    counts = ", ".join(f"{many} {priority}" for priority, many in now["by_priority"].items() if many)
    waiting = [f"{counts}; the oldest for {now['oldest_wait_seconds']:.0f} s"] if counts else []
    return "\n".join(waiting + ([f"{now['deferred']} until the charger comes"] if now["deferred"] else []))


def mode(now: Any) -> str:
    """The mode in force and why; the reason names the hold that counts, the others have a line each."""
    taken = "" if now["mode"] == now["effective_mode"] else f" → {now['effective_mode']}"
    holds = map(_hold, now["holds"]) if len(now["holds"]) > 1 else ()
    return "\n".join([f"{now['mode']}{taken}: {now['reason']}", *holds])


def modes(now: Any) -> str:
    """Every mode with its price of time and its limits; the chosen one is marked."""
    rows = [
        (
            "*" if row["mode"] == now["mode"] else " ",
            row["mode"],
            _price(row),
            quantity(row["max_power_watts"], "W"),
            quantity(row["max_temperature_celsius"], "°C"),
            quantity(row["max_fan_percent"], "%"),
            quantity(row["max_concurrency"], "at once"),
            row["description"],
        )
        for row in now["modes"]
    ]
    return table(("", "mode", "value of time", "power", "heat", "fan", "requests", "for"), rows)


def mode_info(row: Any) -> str:
    """Everything about one mode."""
    refuses = "requests are refused instead of exceeding a limit" if row["strict"] else ""
    lines = [("value of time", _price(row)), ("limits", limits(row) or "none"), ("strict", refuses)]
    return f"{row['mode']}: {row['description']}\n{_indented(table(('', ''), [line for line in lines if line[1]]))}"


def limits(row: Any) -> str:
    """A mode's limits in words, empty when there are none."""
    return ", ".join(words.format(row[name]) for name, words in LIMITS if row[name] is not None)


def backends(all_of_them: Sequence[Any]) -> str:
    """Each backend in a line."""
    if not all_of_them:
        return "no backend is configured, and none was found on this machine"
    rows = [
        (
            each["id"],
            each["hardware"],
            _standing(each),
            _rated(each),
            quantity(each["power_watts"], "W"),
            quantity(each["tokens_per_second"], "tokens/s"),
            quantity(each["temperature_celsius"], "°C"),
            _models(each["models"]),
        )
        for each in all_of_them
    ]
    shown = table(("backend", "hardware", "state", "rated", "draws", "speed", "heat", "models"), rows)
    return "\n".join([shown, *_within(all_of_them)])


def _within(all_of_them: Sequence[Any]) -> list[str]:
    """How many of those that can serve are within the mode, unless all are."""
    up = [each for each in all_of_them if each["health"] == "up"]
    within = [each for each in up if each["outside_mode"] is None]
    if len(within) == len(up):
        return []
    return [f"{len(within)} of {len(up)} are within this mode; the others serve only if these cannot"]


def _standing(each: Any) -> str:
    """Its state, and whether it is in this mode."""
    outside = each["outside_mode"] if each["health"] == "up" else None
    return brief(", ".join(filter(None, (_doing(each), outside["reason"]))) if outside else state(each))


def _rated(each: Any, unit: str = "W") -> str:
    """Its watts; a guess is called one."""
    why = each["unknown"].get("rated_power_watts", {})
    guess_w = why.get("reason_details", {}).get("power_watts")
    return quantity(each["rated_power_watts"], unit) or (
        "" if guess_w is None else f"about {number(guess_w)} {unit}, guessed"
    )


def backend(each: Any) -> str:
    """Everything about one backend."""
    lines = [
        ("name", each["name"]),
        ("hardware", each["hardware"]),
        ("state", state(each)),
        ("mode", each["outside_mode"]["reason"] if each["outside_mode"] else ""),
        ("rated", _rated(each, "W while it answers") or "unknown"),
        ("draws", quantity(each["power_watts"], "W now") or _unknown(each, "power_watts")),
        ("speed", quantity(each["tokens_per_second"], "tokens/s") or _unknown(each, "tokens_per_second")),
        ("heat", _heat(each) or _unknown(each, "temperature_celsius")),
        ("sleep", SLEEP.get(each["asleep"]) or _unknown(each, "asleep")),
        ("slots", f"{each['slots']}, {each['slots_from']}"),
        ("models", ", ".join(each["models"]) or "none"),
    ]
    return f"{each['id']}\n{_indented(table(('', ''), [line for line in lines if line[1]]))}"


def _heat(each: Any) -> str:
    too_hot = ", too hot for this mode" if each["too_hot"] else ""
    return quantity(each["temperature_celsius"], f"°C{too_hot}")


def state(each: Any) -> str:
    """What a backend does, or why it cannot."""
    if doing := _doing(each):
        return doing
    if each["too_hot"]:
        return "too hot"
    return "asleep" if each["asleep"] else "idle"


def _doing(each: Any) -> str:
    """What is told of it before the mode and its device's heat; empty where nothing is."""
    if not each["enabled"]:
        return str(each["reason"] or "disabled")
    if each["health"] != "up":
        return f"{each['health']}: {each['reason']}" if each["reason"] else str(each["health"])
    if each["off"]:
        return "off until asked"
    if each["reason"]:
        return f"degraded: {each['reason']}"
    serving = f"serving {each['in_flight']}" if each["in_flight"] else ""
    if (until_unix_s := each.get("resting_until_unix_seconds")) is not None:
        return f"{serving and serving + ', '}resting until {strftime('%H:%M:%S', localtime(until_unix_s))}"
    return serving


def machine(now: Any) -> str:
    """The sensors' readings; a missing one is unknown, with the reason."""
    return table(("", ""), list(machine_lines(now).items()))


def machine_lines(now: Any) -> dict[str, str]:
    """The sensors' readings, by the names that people read."""
    lines = {
        "power": _power(now) or _unknown(now, "on_battery"),
        "profile": _profile(now) or _unknown(now, "power_profile"),
        "heat": quantity(now["hottest_celsius"], "°C at the hottest device") or _unknown(now, "hottest_celsius"),
        "fan": _percent(now["fan_percent"]) or _unknown(now, "fan_percent"),
        "quiet hours": QUIET.get(now["quiet_hours"]) or _unknown(now, "quiet_hours"),
    }
    return lines | ({"games": f"{now['games']} running"} if now["games"] else {})


def _hold(hold: Any) -> str:
    why = f", {hold['reason']}" if hold["reason"] else ""
    return f"held: {hold['mode']} by {hold['application_id'] or 'a program'}{why}"


def _power(now: Any) -> str:
    if now["on_battery"] is None:
        return ""
    charge = "" if now["battery_percent"] is None else f", battery at {_percent(now['battery_percent'])}"
    return f"{'on battery' if now['on_battery'] else 'on mains power'}{charge}"


def _profile(now: Any) -> str:
    degraded = f", held back: {now['performance_degraded']}" if now["performance_degraded"] else ""
    return f"{now['power_profile']}{degraded}" if now["power_profile"] else ""


def _unknown(now: Any, name: str) -> str:
    why = now["unknown"].get(name)
    return f"unknown: {why['reason']}" if why else "unknown"


def _price(row: Any) -> str:
    """Auto has no price of its own."""
    return "" if row["mode"] == "Auto" else f"{row['price_of_time_watts']:g} W"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0f} %"


def _models(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN_MODELS} more" if len(names) > SHOWN_MODELS else ""
    return ", ".join(names[:SHOWN_MODELS]) + more


def settings(now: Any) -> str:
    """Each setting, and whether it differs from the configuration."""
    changed = now["changed"]
    rows = [(key, _setting(value), "changed" if key in changed else "") for key, value in now["settings"].items()]
    return table(("", "", ""), rows)


def _setting(value: bool | float | str) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return value if isinstance(value, str) else number(value)


def quantity(value: float | None, unit: str) -> str:
    """A number with its unit, empty where there is none."""
    return "" if value is None else f"{number(value)} {unit}"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
