"""The shape of the configuration file: every key with its type, limits, default and a sentence."""

from enum import Enum
from typing import Annotated, TypeAlias

from msgspec import Meta, Struct, field

from ollama_proxyd.config.schema_backends import Backend, EnvironmentName, FilePath, NotNegative, Positive
from ollama_proxyd.config.schema_efficiency import Efficiency
from ollama_proxyd.edges.backends.engines import KNOWN_PORTS
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.edges.plumbing.http import Timeouts
from ollama_proxyd.services.settings import GatewaySettings, HealthSettings, SensingSettings

_SERVER = ServerSettings()
_GATEWAY = GatewaySettings()
_HEALTH = HealthSettings()
_TIMEOUTS = Timeouts()
_SENSING = SensingSettings()

AbsolutePath: TypeAlias = Annotated[str, Meta(pattern="^/.*$", extra={"expects": "a path that begins with /"})]
Interval: TypeAlias = Annotated[float, Meta(ge=0.1, le=3600)]
Port: TypeAlias = Annotated[int, Meta(ge=1, le=65535)]
ListenHost: TypeAlias = Annotated[
    str, Meta(pattern="^[A-Za-z0-9.:_-]+$", extra={"expects": "a host name or an address without brackets"})
]
HostName: TypeAlias = Annotated[
    str,
    Meta(
        pattern="^([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\])$",
        extra={"expects": "a host name without scheme and port"},
    ),
]
WebOrigin: TypeAlias = Annotated[
    str,
    Meta(
        pattern="^[a-z][a-z0-9+.-]*://[A-Za-z0-9._:\\[\\]-]+$",
        extra={"expects": "an origin such as https://chat.example.org or moz-extension://0123"},
    ),
]


SocketPath: TypeAlias = Annotated[
    str, Meta(pattern="^[^\\x00]+[^/\\x00]$", extra={"expects": "the path of a socket, such as ollama-proxyd.sock"})
]


class LogLevel(Enum):
    """From which weight on a line is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Auth(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The token that clients must present as `Authorization: Bearer …`; give one of the two keys, or neither."""

    token_env: Annotated[EnvironmentName | None, Meta(description="The environment variable that holds the token.")] = (
        None
    )
    token_file: Annotated[
        FilePath | None,
        Meta(description="The file that holds the token; relative to this file, or beginning with ~/."),
    ] = None


class Server(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The HTTP server that clients talk to."""

    host: Annotated[
        ListenHost, Meta(description="The address to listen on; one beyond this machine needs a token in auth.")
    ] = _SERVER.host
    http_port: Annotated[
        int, Meta(ge=0, le=65535, description="The TCP port to listen on; 0 lets the system choose a free one.")
    ] = _SERVER.port
    unix_socket: Annotated[
        SocketPath | None,
        Meta(
            description="A Unix socket to listen on as well, for the owner only; a path that begins with / or ~/, or "
            "one in $XDG_RUNTIME_DIR."
        ),
    ] = _SERVER.unix_socket
    idle_exit_s: Annotated[
        Annotated[float, Meta(ge=1, le=86_400)] | None,
        Meta(
            description="Seconds without use after which the daemon ends, to be started again by the next connection; "
            "only where systemd holds its sockets. null: never."
        ),
    ] = _SERVER.idle_exit_s
    allowed_hosts: Annotated[
        tuple[HostName, ...],
        Meta(description="Names that clients may call this server by, besides localhost, 127.0.0.1 and [::1]."),
    ] = _SERVER.allowed_hosts
    allowed_origins: Annotated[
        tuple[WebOrigin, ...],
        Meta(description="Web pages and browser extensions that may use this server, as the Origin header names them."),
    ] = _SERVER.allowed_origins
    auth: Annotated[Auth, Meta(description="Who may send requests.")] = field(default_factory=Auth)
    max_body_bytes: Annotated[
        int, Meta(ge=1024, le=2**31, description="The largest request, in bytes; a larger one is refused.")
    ] = _SERVER.max_body_bytes
    max_in_flight: Annotated[
        int, Meta(ge=1, le=100_000, description="Requests under way at the same time; one more is told to come later.")
    ] = _GATEWAY.max_in_flight
    keep_alive_s: Annotated[Positive, Meta(description="Seconds that an idle client connection stays open.")] = (
        _SERVER.keep_alive_s
    )
    drain_s: Annotated[
        float, Meta(ge=0, le=3600, description="Seconds that running requests get to finish when the daemon stops.")
    ] = _SERVER.drain_s


class Routing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a backend is chosen, beyond what the efficiency mode says."""

    retries: Annotated[
        int, Meta(ge=0, le=10, description="Further backends that are tried while nothing was sent to the client yet.")
    ] = _GATEWAY.retries


class Monitoring(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the daemon tells about itself, and how it watches its backends."""

    enabled: Annotated[bool, Meta(description="Whether GET /metrics answers, in the text format of Prometheus.")] = (
        _SERVER.serve_metrics
    )
    log_level: Annotated[LogLevel, Meta(description="From which weight on lines are logged.")] = LogLevel.INFO
    health_interval_s: Annotated[
        Positive, Meta(description="Seconds between two checks of every backend while somebody uses the proxy.")
    ] = _HEALTH.interval_s
    health_idle_interval_s: Annotated[
        Positive, Meta(description="Seconds between two checks while nobody has used the proxy for that long.")
    ] = _HEALTH.idle_interval_s
    health_timeout_s: Annotated[
        Positive, Meta(description="Seconds after which a check counts as failed, at most the interval.")
    ] = _HEALTH.timeout_s
    health_recheck_s: Annotated[
        Positive, Meta(description="Seconds after which a backend that failed a request is checked.")
    ] = _HEALTH.recheck_s


class Detection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The search for engines on this machine, which takes place where no backend is configured."""

    enabled: Annotated[bool, Meta(description="Whether engines are looked for.")] = True
    ports: Annotated[
        tuple[Port, ...], Meta(description="The TCP ports on 127.0.0.1 to look at; this server's own is left out.")
    ] = KNOWN_PORTS
    interval_s: Annotated[Positive, Meta(description="Seconds until the next look while no engine answers.")] = 5.0


class Sensors(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the machine is asked about itself: battery, heat, fans, power, and which devices sleep."""

    enabled: Annotated[bool, Meta(description="Whether the machine's sensors are read.")] = True
    sysfs_root: Annotated[
        AbsolutePath, Meta(description="The folder in which the kernel shows devices and sensors.")
    ] = "/sys"
    idle_interval_s: Annotated[
        Interval, Meta(description="Seconds between two looks at the sensors while nobody uses the proxy.")
    ] = _SENSING.idle_s
    busy_interval_s: Annotated[Interval, Meta(description="Seconds between two looks while it is used.")] = (
        _SENSING.busy_s
    )
    busy_for_s: Annotated[NotNegative, Meta(description="Seconds after the last request that count as use.")] = (
        _SENSING.busy_after_s
    )


class Dbus(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The session bus, over which desktop, scripts and ollama-proxyctl see and steer the daemon."""

    enabled: Annotated[bool, Meta(description="Whether the daemon is there; without a bus it does without.")] = True


class Sleep(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is done when the machine goes to sleep, of which logind tells on the system bus."""

    enabled: Annotated[
        bool,
        Meta(description="Whether running requests are finished, or ended with an error, before the machine sleeps."),
    ] = True
    block_while_generating: Annotated[
        bool, Meta(description="Whether the machine is kept awake while answers are written, on mains power only.")
    ] = False


class Upstream(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long to wait for a backend; nothing bounds the whole of an answer."""

    connect_s: Annotated[Positive, Meta(description="Seconds until it accepts a connection.")] = _TIMEOUTS.connect_s
    first_byte_s: Annotated[
        Positive,
        Meta(description="Seconds until its answer begins, which covers loading a model."),
    ] = _TIMEOUTS.first_byte_s
    idle_s: Annotated[Positive, Meta(description="Seconds between two pieces of an answer.")] = _TIMEOUTS.idle_s
    probe_s: Annotated[Positive, Meta(description="Seconds for each question of a health check.")] = _TIMEOUTS.probe_s


class FileConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configuration of ollama-proxyd."""

    server: Annotated[Server, Meta(description="The HTTP server that clients talk to.")] = field(default_factory=Server)
    backends: Annotated[
        tuple[Backend, ...], Meta(description="The engines; with none, they are looked for on this machine.")
    ] = ()
    routing: Annotated[Routing, Meta(description="How a backend is chosen.")] = field(default_factory=Routing)
    efficiency: Annotated[Efficiency, Meta(description="The efficiency modes.")] = field(default_factory=Efficiency)
    monitoring: Annotated[
        Monitoring, Meta(description="What the daemon tells about itself, and how it watches its backends.")
    ] = field(default_factory=Monitoring)
    detection: Annotated[Detection, Meta(description="The search for engines where no backend is configured.")] = field(
        default_factory=Detection
    )
    sensors: Annotated[Sensors, Meta(description="What the machine is asked about itself.")] = field(
        default_factory=Sensors
    )
    dbus: Annotated[Dbus, Meta(description="The session bus, over which the daemon is seen and steered.")] = field(
        default_factory=Dbus
    )
    sleep: Annotated[Sleep, Meta(description="What is done when the machine goes to sleep.")] = field(
        default_factory=Sleep
    )
    upstream: Annotated[Upstream, Meta(description="How long to wait for a backend.")] = field(default_factory=Upstream)
