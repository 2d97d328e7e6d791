"""The doctor's judgements, each a small function of its facts."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ollama_proxyd import __version__
from ollama_proxyd.cli.brief import halves
from ollama_proxyd.cli.doctor.engine_checks import engines, saved_prompts, sockets
from ollama_proxyd.cli.doctor.facts import DoctorFacts
from ollama_proxyd.cli.doctor.findings import Finding, Level
from ollama_proxyd.cli.failures import HOW_TO_RESTART, HOW_TO_START

POWER_PROFILES = ("org.freedesktop.UPower.PowerProfiles", "net.hadess.PowerProfiles")
UPOWER = "org.freedesktop.UPower"
NO_SYSTEM_BUS = "start it with: sudo systemctl start dbus; in a container it does not matter"


Check = Callable[[DoctorFacts], Finding | None]
"""None where there is nothing to judge."""


def session_bus(facts: DoctorFacts) -> Finding:
    """The desktop needs it."""
    if facts.session_bus is None:
        return Finding(Level.OK, "there is one")
    says = f"{facts.session_bus}, so the desktop cannot show the daemon"
    return Finding(Level.WARNING, says, "run this in a login session; on a server it does not matter")


def daemon(facts: DoctorFacts) -> Finding:
    """Whether it runs, and is of our version."""
    version = facts.http.version
    if facts.http.is_silent:
        return Finding(Level.ERROR, "it runs and does not answer", HOW_TO_RESTART)
    if version is None and not facts.http.refusal:
        return Finding(Level.ERROR, "it does not run", HOW_TO_START)
    if version is not None and version != __version__:
        says = f"version {version} runs, but {__version__} is installed"
        return Finding(Level.WARNING, says, "end it and start it again")
    if not facts.on_the_bus and facts.session_bus is None:
        says = "it runs, but is not on this session bus"
        return Finding(Level.WARNING, says, "run it in the same session, as a user service")
    return Finding(Level.OK, "it runs")


def port(facts: DoctorFacts) -> Finding:
    """Whether requests reach the daemon."""
    http = facts.http
    if http.version is not None:
        too = "" if http.grpc_endpoint is None else f", and gRPC at {http.grpc_endpoint}"
        return Finding(Level.OK, f"the daemon answers at {http.url}{too}")
    if http.refusal:
        return Finding(Level.WARNING, http.refusal)
    if http.is_silent:
        holder = http.holder or "the daemon"
        return Finding(Level.ERROR, f"{holder} listens at {http.url} and does not answer", HOW_TO_RESTART)
    if http.port_taken:
        choose = "end that program, or choose another port with server.http_port in the configuration"
        holder = f" ({http.holder})" if http.holder else ""
        return Finding(Level.ERROR, f"another program{holder} answers at {http.url}", choose)
    return Finding(Level.OK, f"{http.url} is free")


def configuration(facts: DoctorFacts) -> Finding:
    """Whether the file can be used, and all that was added beside it."""
    config = facts.config
    mend = "mend it with: ollama-proxyctl config edit"
    if config.errors:
        return Finding(Level.ERROR, "; ".join(config.errors), mend)
    if config.warnings:
        return Finding(Level.WARNING, "; ".join(config.warnings), mend)
    if facts.left_out:
        told = [f"{each['kind']} {each['name']} of the admin API is left out: {each['why']}" for each in facts.left_out]
        which = f"{facts.left_out[0]['kind']} {facts.left_out[0]['name']}"
        return Finding(Level.WARNING, "; ".join(told), f"{mend}, or: ollama-proxyctl admin delete {which}")
    return Finding(Level.OK, config.path or "there is no file, so the built-in defaults apply")


def backends(facts: DoctorFacts) -> Finding | None:
    """Whether something can answer, and as well as it should; only a running daemon knows.

    Another machine that is away is no trouble while something else can.
    """
    if facts.status is None:
        return None
    enabled = [each for each in facts.status["backends"] if each["enabled"]]
    wanted = [each for each in enabled if not (each.get("machine") and each["health"] == "down")] or enabled
    if not wanted:
        do = "start Ollama or llama-server, or name an engine in the configuration: ollama-proxyctl config edit"
        return Finding(Level.ERROR, "there is none, so nothing can answer", do)
    down = [each for each in wanted if each["health"] != "up"]
    worse = [each for each in wanted if each["health"] == "up" and each["reason"]]
    if not down and not worse:
        return Finding(Level.OK, _all_serve(wanted))
    level = Level.ERROR if len(down) == len(wanted) else Level.WARNING
    are_down = [f"{each['id']} is {each['health']}{_cause(each)}" for each in down]
    are_worse = [f"{each['id']} answers, but worse than it should ({_said(each)[0]})" for each in worse]
    return Finding(level, "; ".join([*are_down, *are_worse]), _advice(down, worse))


def _advice(down: Sequence[Any], worse: Sequence[Any]) -> str:
    """One piece for each backend: that of its reason, else what helps most."""
    own = {each["id"]: _said(each)[1] for each in (*down, *worse)}
    start = any(not own[each["id"]] for each in down)
    restart = any(not own[each["id"]] for each in worse)
    given = [f"{backend_id}: {advice}" for backend_id, advice in own.items() if advice]
    if start:
        given.append("start or restart these engines, or take them out: ollama-proxyctl backends disable ID")
    return "; ".join([*given, *(["restart the engine that answers worse"] if restart else [])])


def _all_serve(backends: Sequence[Any]) -> str:
    """Those within the mode, then the others with their reason."""
    within = [each["id"] for each in backends if each["outside_mode"] is None]
    others = [f"{each['id']} ({each['outside_mode']['reason']})" for each in backends if each["outside_mode"]]
    if not others:
        return f"all can serve: {', '.join(within)}"
    first = f"{', '.join(within)}; only if these cannot" if within else "none is within this mode, so the thriftiest"
    return f"all can serve: {first}: {', '.join(others)}"


def _cause(backend: Any) -> str:
    return f" ({_said(backend)[0]})" if backend["reason"] else ""


def _said(backend: Any) -> tuple[str, str]:
    """The cause and the advice of its reason; a breaker's adds when the backend is tried again."""
    broken = backend.get("reason_code") == "failing"
    return halves((backend["reason_details"]["reason"]["reason"] if broken else backend["reason"]) or "")


def models(facts: DoctorFacts) -> Finding | None:
    """Whether one name means one model on every backend."""
    if not facts.backends:
        return None
    held: dict[str, dict[str, list[str]]] = {}
    for backend in facts.backends:
        for name, digest in backend["digests"].items():
            held.setdefault(name, {}).setdefault(digest, []).append(backend["id"])
    differing = {name: list(ids.values()) for name, ids in held.items() if len(ids) > 1}
    if not differing:
        return Finding(Level.OK, "each name means the same on every backend")
    which = [f"{name} on {' and '.join(map('+'.join, ids))}" for name, ids in sorted(differing.items())]
    says = f"one name and different files: {'; '.join(which)}; an answer that breaks does not go on with the other"
    return Finding(Level.WARNING, says, "pull it anew on each, or give one another name: ollama cp")


def house(facts: DoctorFacts) -> Finding | None:
    """Whether the paired machines are there, and share something; nothing where other machines are not used."""
    told = facts.house or {}
    if not told.get("enabled"):
        return None
    if told["trouble"]:
        return Finding(
            Level.WARNING, told["trouble"], "name their addresses in house.peers: ollama-proxyctl config edit"
        )
    if not told["peers"]:
        return Finding(Level.WARNING, "no machine is paired", "show a code on one of them: ollama-proxyctl pair")
    away = [f"{each['name']} ({each['reason']})" for each in told["peers"] if each["reason"]]
    if len(away) == len(told["peers"]):
        do = "look whether they run and are in the same network; this machine's own backends answer meanwhile"
        return Finding(Level.WARNING, f"no paired machine can be used: {', '.join(away)}", do)
    there = [each["name"] for each in told["peers"] if not each["reason"]]
    return Finding(Level.OK, "; ".join([f"used: {', '.join(there)}", *(f"not now: {each}" for each in away)]))


def service(names: tuple[str, ...], without: str, do: str) -> Check:
    """A check whether Auto has one of these services of the system bus."""

    def check(facts: DoctorFacts) -> Finding:
        if facts.system_bus is not None:
            return Finding(Level.WARNING, f"{facts.system_bus}, so {without}", NO_SYSTEM_BUS)
        if not any(facts.services.get(name) for name in names):
            return Finding(Level.WARNING, f"{names[0]} is not on the system bus, so {without}", do)
        return Finding(Level.OK, "its service is there")

    return check


def energy_counters(facts: DoctorFacts) -> Finding:
    """Whether the processor's watts can be measured."""
    closed = [path for path, readable in facts.energy_counters.items() if not readable]
    if closed:
        says = f"{closed[0]} is for root alone, so the processor's watts are not measured"
        do = f"an administrator may allow it to all users of this machine: sudo chmod o+r {' '.join(closed)}"
        return Finding(Level.WARNING, says, do)
    there = "they can be read" if facts.energy_counters else "this machine has none"
    return Finding(Level.OK, there)


def devices(facts: DoctorFacts) -> Finding:
    """Whether engines that this user starts may use the accelerators."""
    closed = [device for device in facts.devices if not device.open_to_us]
    if closed:
        says = f"engines of this user may not use {', '.join(device.path for device in closed)}"
        groups = ",".join(sorted({device.group for device in closed}))
        return Finding(Level.WARNING, says, f"sudo usermod -aG {groups} $USER, and log in again")
    return Finding(Level.OK, "all are open to this user" if facts.devices else "no accelerator was found")


def history(facts: DoctorFacts) -> Finding | None:
    """Whether the daemon keeps what requests came to."""
    told = (facts.status or {}).get("history")
    if told is None:
        return None
    if told["reason_code"] == "history_failed":
        is_locked = "locked" in told["reason"]  # in SQLite's words
        do = "make room on the disk, or let this user write to the folder"
        do = "end what reads or copies history.db" if is_locked else do
        return Finding(Level.WARNING, told["reason"], f"{do}; answers go on meanwhile")
    return Finding(Level.OK, told["reason"] or "it is kept")


def leftovers(facts: DoctorFacts) -> Finding:
    """Whether parts of an earlier ollama-proxy are in the way."""
    if facts.old_daemon:
        do = "systemctl --user disable --now ie.fio.ollamaproxy, or end the program"
        return Finding(Level.WARNING, "the daemon of an earlier ollama-proxy runs", do)
    if facts.leftovers:
        says = f"of an earlier ollama-proxy, which cannot work with this one: {', '.join(facts.leftovers)}"
        return Finding(Level.WARNING, says, f"remove them: rm -r {' '.join(facts.leftovers)}")
    return Finding(Level.OK, "nothing of an earlier ollama-proxy")


CHECKS: Mapping[str, Check] = {
    "daemon": daemon,
    "port": port,
    "configuration": configuration,
    "backends": backends,
    "models": models,
    "engines": engines,
    "engine sockets": sockets,
    "saved prompts": saved_prompts,
    "house": house,
    "session bus": session_bus,
    "battery": service((UPOWER,), "Auto cannot follow the battery", "install the package upower"),
    "power profiles": service(
        POWER_PROFILES,
        "Auto cannot follow the power profile",
        "install the package power-profiles-daemon (or tuned-ppd)",
    ),
    "energy counters": energy_counters,
    "devices": devices,
    "history": history,
    "leftovers": leftovers,
}
"""By subject, in the order in which a person would look."""


def examine(facts: DoctorFacts) -> tuple[Finding, ...]:
    """Every judgement."""
    found = {subject: check(facts) for subject, check in CHECKS.items()}
    return tuple(finding._replace(subject=subject) for subject, finding in found.items() if finding is not None)


def worst(findings: Iterable[Finding]) -> Level:
    """The exit status."""
    return max((finding.level for finding in findings), default=Level.OK)
