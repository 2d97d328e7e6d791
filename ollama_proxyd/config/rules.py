"""Settings that are right by themselves and contradict each other."""

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from ollama_proxyd.config.check import nearest
from ollama_proxyd.config.settings import Config
from ollama_proxyd.core.fleet import BackendSpec
from ollama_proxyd.core.frontend_settings import wrong_options
from ollama_proxyd.core.frontends import Balancing
from ollama_proxyd.core.model_names import canonical
from ollama_proxyd.core.requests import Api
from ollama_proxyd.core.tuning import NO_LENGTH, battery_contradiction
from ollama_proxyd.edges.backends.engines import ENGINES
from ollama_proxyd.edges.host.control_socket import PATH
from ollama_proxyd.edges.host.syslog import place_of as syslog_place_of
from ollama_proxyd.edges.plumbing.access import EVERYWHERE, LOCAL_NAMES
from ollama_proxyd.edges.plumbing.way import is_here, is_loopback

LOOPBACK: Final = "127.0.0.1"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


Contradictions: TypeAlias = Iterator[tuple[str, str]]
"""What contradicts, each with the key at which a person would mend it."""


def contradictions(config: Config) -> Contradictions:
    """Everything in a configuration that cannot be meant as it stands."""
    for rule in _RULES:
        yield from rule(config)


def _token_beyond_loopback(config: Config) -> Contradictions:
    host, auth = config.server.host, config.auth
    if not is_loopback(host) and auth.token_env is None and auth.token_file is None:
        advice = f"give server.auth.token_env or token_file, or listen on {LOOPBACK}"
        yield "server.host", f"{host} lets other machines in, and no token is asked for; {advice}"


def _one_source_of_each_secret(config: Config) -> Contradictions:
    if config.auth.token_env and config.auth.token_file:
        yield ("server.auth.token_file", "token_env gives the token as well; keep one of the two")
    for index, source in enumerate(config.api_keys):
        if source.api_key_env and source.api_key_file:
            message = "api_key_env gives the key as well; keep one of the two"
            yield f"backends[{index}].api_key_file", message


def _specs(config: Config) -> Iterator[tuple[str, BackendSpec]]:
    return ((f"backends[{index}]", each.spec) for index, each in enumerate(config.backends))


def _engines(config: Config) -> Iterator[tuple[str, BackendSpec]]:
    return ((f"engines[{index}]", each.spec) for index, each in enumerate(config.engines))


def _engines_can_be_run(config: Config) -> Contradictions:
    for at, spec in _engines(config):
        engine = spec.engine
        assert engine is not None
        if missing := " and ".join(engine.missing):
            yield f"{at}.command", f"{missing} must be in it, so that each process has a model and a port of its own"
        for name, do in engine.forbidden.items():
            yield f"{at}.environment", f"{name} is the proxy's to set; {do}"
        if engine.facts.keeps_store:
            continue  # its program knows where
        if engine.models_dir is None and config.engine.models_dir is None:
            yield f"{at}.models_dir", "no folder of models is named; give it, or models_dir for all engines"


def _ids_differ(config: Config) -> Contradictions:
    seen: dict[str, tuple[str, str]] = {}
    for at, backend in (*_engines(config), *_specs(config)):  # an engine is always in the file
        first, name = seen.setdefault(backend.id.lower(), (at, backend.id))
        if first != at:
            yield f"{at}.id", f"{first} is called {name} already; give each an id of its own"


def _flavors_are_known(config: Config) -> Contradictions:
    for at, backend in _specs(config):
        known = sorted(engine.name for engine in ENGINES.values() if engine.api is backend.api)
        if backend.flavor not in known:
            near = nearest(backend.flavor, known)
            advice = f'did you mean "{near}"?' if near else f"known are {', '.join(known)}"
            message = f'"{backend.flavor}" is not an engine of type {backend.api.value}; {advice}'
            yield f"{at}.flavor", message


def _endpoints_differ(config: Config) -> Contradictions:
    seen: dict[tuple[str, int | None, str], str] = {}
    for at, backend in _specs(config):
        place = place_of(backend.endpoint)
        if place is None:
            yield f"{at}.endpoint", _no_address(backend.endpoint)
            continue
        first = seen.setdefault(place, backend.id)
        if first != backend.id:
            message = f"backend {first} is at this address already; two backends would count one engine twice"
            yield f"{at}.endpoint", message


def _no_address(written: str) -> str:
    return f'"{written}" is not an address with a host and a port from 1 to 65535'


def _listeners_have_addresses(config: Config) -> Contradictions:
    collector, syslog = config.telemetry.otlp_endpoint, config.log.syslog
    if collector is not None and place_of(collector) is None:
        yield "telemetry.otlp_endpoint", _no_address(collector)
    if syslog is not None:
        try:
            syslog_place_of(syslog)
        except ValueError:
            message = f'"{syslog}" is neither a socket nor an IP address with a port from 1 to 65535'
            yield "monitoring.syslog", message


def _no_backend_is_this_server(config: Config) -> Contradictions:
    server = config.server
    ours = {server.host.lower()} | ({LOOPBACK} if is_loopback(server.host) or server.host in EVERYWHERE else set())
    for at, backend in _specs(config):
        place = place_of(backend.endpoint)
        is_own_socket = backend.endpoint == f"unix:{server.unix_socket}" or backend.endpoint.endswith(f"/{PATH}")
        if is_own_socket or (place is not None and place[0] in ours and place[1] == server.port):
            message = "ollama-proxyd itself listens at this address (server.http_port); give one of the two another one"
            yield f"{at}.endpoint", message


def place_of(endpoint: str) -> tuple[str, int | None, str] | None:
    """Host, port and path in a form in which equal places are equal; None where it is not an address."""
    if endpoint.startswith("unix:"):
        return LOOPBACK, None, endpoint
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname or port == 0 or parts.netloc.endswith(":"):
        return None
    host = LOOPBACK if is_here(parts.hostname) else parts.hostname
    return host, port or _DEFAULT_PORTS[parts.scheme], parts.path.rstrip("/")


def _images_are_fetched_elsewhere(config: Config) -> Contradictions:
    for at, backend in _specs(config):
        if backend.https_images and (backend.is_local or backend.api is not Api.OPENAI):
            why = "runs on this machine, and decides what it fetches" if backend.is_local else "speaks Ollama's API"
            yield f"{at}.https_images", f"{backend.id} {why}; it is for OpenAI services elsewhere"


def _names_mean_one_model(config: Config) -> Contradictions:
    seen: dict[str, str] = {}
    for alias, names in config.gateway.aliases.items():
        for name in dict.fromkeys(map(canonical, (alias, *names))):
            first = seen.setdefault(name, alias)
            if first != alias:
                message = f'"{name.removesuffix(":latest")}" is a name of "{first}" already; one name means one model'
                yield f"models.{alias}", message


def _battery_limits_rise(config: Config) -> Contradictions:
    auto = config.modes.auto
    if why := battery_contradiction(auto.critical_battery_percent, auto.low_battery_percent):
        yield "efficiency.auto.critical_battery_percent", why


def _heat_limits_rise(config: Config) -> Contradictions:
    auto = config.modes.auto
    if auto.critical_c < auto.hot_c:
        message = f"{auto.critical_c:g} is below hot_c ({auto.hot_c:g}); what is critical is hot as well"
        yield "efficiency.auto.critical_c", message


def _use_quickens_the_sensors(config: Config) -> Contradictions:
    pace = config.sensors.pace
    if pace.busy_s > pace.idle_s:
        message = (
            f"{pace.busy_s:g} is more than idle_interval_s ({pace.idle_s:g}); "
            "sensors are looked at more often while the proxy is used"
        )
        yield "sensors.busy_interval_s", message


def _quiet_hours_have_a_length(config: Config) -> Contradictions:
    quiet = config.tuning
    if quiet.quiet_hours_enabled and quiet.quiet_hours_start == quiet.quiet_hours_end:
        yield "efficiency.quiet_hours.end", f"{quiet.quiet_hours_end} {NO_LENGTH}; use enabled: false for never"


def _frontends_differ(config: Config) -> Contradictions:
    """Each name, host name, port and socket leads to one front end."""
    seen: dict[tuple[str, str], int] = {}
    own = (("port", str(config.server.port)), ("unix_socket", config.server.unix_socket or ""))
    for index, frontend in enumerate(config.frontends):
        sockets = (("port", str(frontend.port or "")), ("unix_socket", frontend.unix_socket or ""))
        places = [("name", frontend.name.lower()), *(("hosts", host) for host in frontend.hosts), *sockets]
        for key, place in places:
            first = seen.setdefault((key, place), index) if place else index
            if first != index:
                other = config.frontends[first].name
                message = f"{place} leads to the front end {other} already, and to {frontend.name}; give each its own"
                yield f"frontends[{index}].{key}", message
        for key, place in sockets:
            if place and (key, place) in own:
                yield f"frontends[{index}].{key}", f"{place} is the daemon's own; give {frontend.name} another"


def _frontends_can_be_reached(config: Config) -> Contradictions:
    ours = {*LOCAL_NAMES, config.server.host.lower(), *config.server.allowed_hosts}
    for index, frontend in enumerate(config.frontends):
        if not (frontend.hosts or frontend.port or frontend.unix_socket):
            yield f"frontends[{index}]", f"nothing leads to {frontend.name}; give it hosts, a port or a unix_socket"
        for host in frontend.hosts:
            if host in ours:
                message = (
                    f"{host} is a name of the daemon itself, and would be of {frontend.name} alone; choose another"
                )
                yield f"frontends[{index}].hosts", message


def _frontends_have_backends(config: Config) -> Contradictions:
    """What is found by searching has no labels."""
    for index, frontend in enumerate(config.frontends):
        backends = (*_specs(config), *_engines(config))
        if frontend.rules.labels and not any(frontend.rules.uses(spec.id, spec.labels) for _, spec in backends):
            message = (
                f"no backend has {', '.join(frontend.rules.labels)} among its labels; {frontend.name} would have none"
            )
            yield f"frontends[{index}].backend_labels", message
        known = {spec.id for _, spec in backends}
        for each in frontend.rules.backends:
            if known and each not in known:
                message = f"there is no backend {each}; there are: {', '.join(sorted(known))}"
                yield f"frontends[{index}].backends", message


def _sticky_frontends_have_a_header(config: Config) -> Contradictions:
    for index, frontend in enumerate(config.frontends):
        if frontend.rules.balancing is Balancing.STICKY and frontend.rules.sticky_header is None:
            advice = "name the header by which requests stay together, such as X-Conversation-Id, in sticky_header"
            yield f"frontends[{index}].balancing", f"{frontend.name} is sticky by nothing; {advice}"


def _frontend_options_are_known(config: Config) -> Contradictions:
    for index, frontend in enumerate(config.frontends):
        for key in ("pinned", "defaults"):
            for name, why in wrong_options(getattr(frontend, key)):
                yield f"frontends[{index}].{key}.{name}", why


def _one_source_of_each_token(config: Config) -> Contradictions:
    for index, source in enumerate(config.frontend_tokens):
        if source.token_env and source.token_file:
            yield f"frontends[{index}].token_file", "token_env gives the token as well; keep one of the two"


_RULES: Final[tuple[Callable[[Config], Contradictions], ...]] = (
    _token_beyond_loopback,
    _one_source_of_each_secret,
    _ids_differ,
    _engines_can_be_run,
    _flavors_are_known,
    _endpoints_differ,
    _listeners_have_addresses,
    _no_backend_is_this_server,
    _images_are_fetched_elsewhere,
    _names_mean_one_model,
    _battery_limits_rise,
    _heat_limits_rise,
    _use_quickens_the_sensors,
    _quiet_hours_have_a_length,
    _frontends_differ,
    _frontends_can_be_reached,
    _frontends_have_backends,
    _sticky_frontends_have_a_header,
    _frontend_options_are_known,
    _one_source_of_each_token,
)
