"""The contestants: how each is configured, started in front of the backend, and known to be ready."""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from bench import peers, procfs, tools
from bench.processes import Command, Processes, Server, free_port, wait_until_ready

SETTLE_S = 1.5
DIRECT, NGINX, OURS, LITELLM, BEFORE = "direct", "nginx", "ours", "litellm", "before"
HAPROXY, ENVOY, SGLANG_ROUTER, PORTKEY = "haproxy", "envoy", "sglang-router", "portkey"
OURS_FOUR, OURS_GRPC = "ours-four", "ours-grpc"


@dataclass(frozen=True)
class Kind:
    """One sort of proxy: how it is set up, in a folder, on a port, before a backend's port."""

    ready_path: str
    prepare: Callable[[Path, int, int], Command]


@dataclass(frozen=True)
class Contestant:
    """A proxy that is running, and how it came up."""

    name: str
    port: int
    server: Server | None
    command: Command = field(default=Command(()))
    ready_s: float | None = None
    idle_rss_bytes: int | None = None

    def pids(self) -> list[int]:
        """Its processes; none when the client talks to the backend itself."""
        return procfs.session_pids(self.server.session) if self.server else []


NGINX_CONF = """
daemon off;
{user}
worker_processes 1;
worker_rlimit_nofile 16384;
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream backend {{
        server 127.0.0.1:{backend_port};
        keepalive 1024;
        keepalive_requests 1000000000;
        keepalive_timeout 1h;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        keepalive_requests 1000000000;
        keepalive_timeout 1h;
        location / {{
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 1h;
        }}
    }}
}}
"""


def _nginx(folder: Path, port: int, backend_port: int) -> Command:
    conf = folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    conf.write_text(NGINX_CONF.format(folder=folder, port=port, backend_port=backend_port, user=user))
    return Command((tools.nginx(), "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(conf)))


def _backend(at: int, port: int) -> dict[str, object]:
    """A port of the backend as one of our backends; each needs more watts than those before it."""
    return {
        "id": f"bench{at or ''}",
        "type": "openai",
        "endpoint": f"http://127.0.0.1:{port + at}",
        "hardware": "cpu",
        "slots": 1024,
        "characteristics": {"power_watts": 28 * 2**at, "avg_latency_ms": 100, "max_tokens_per_second": 50},
    }


def _ours(folder: Path, port: int, backend_port: int, checkout: Path = tools.ROOT, backends: int = 1) -> Command:
    server = {"http_port": port}
    return _daemon(folder, server, [_backend(at, backend_port) for at in range(backends)], checkout)


def _ours_grpc(folder: Path, port: int, backend_port: int) -> Command:
    grpc_port = free_port()
    command = _daemon(folder, {"http_port": port, "grpc_port": grpc_port}, [_backend(0, backend_port)], tools.ROOT)
    return replace(command, argv=(tools.grpc_python(), *command.argv[1:]), grpc_port=grpc_port)


def _daemon(folder: Path, server: dict[str, int], backends: list[dict[str, object]], checkout: Path) -> Command:
    config = folder / "config.yaml"
    config.write_text(json.dumps({"server": server, "backends": backends}))  # JSON is YAML
    homes = {name: str(folder / name.lower()) for name in XDG_HOMES}
    for home in homes.values():
        Path(home).mkdir(exist_ok=True, mode=0o700)
    argv = (sys.executable, "-P", "-m", "ollama_proxyd", "--config", str(config))
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    env = {**homes, **compiled, "PYTHONPATH": str(checkout.resolve())}
    tools.run((*argv, "--check-config"), env=env)  # compiles it, as an installed one is: that takes time and memory
    return Command(argv, env)


XDG_HOMES = ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR")


def _litellm(folder: Path, port: int, backend_port: int) -> Command:
    config = folder / "litellm.yaml"
    upstream = {"model": "openai/bench", "api_base": f"http://127.0.0.1:{backend_port}/v1", "api_key": "none"}
    config.write_text(json.dumps({"model_list": [{"model_name": "bench", "litellm_params": upstream}]}))
    nowhere = "http://127.0.0.1:9"  # it may not call out while it is measured
    env = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # no keys to check: less work for it
        "HTTP_PROXY": nowhere,
        "HTTPS_PROXY": nowhere,
        "NO_PROXY": "127.0.0.1,localhost",
    }
    options = ("--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1")
    return Command((tools.litellm(), *options), env)


KINDS = {
    NGINX: Kind("/health", _nginx),
    OURS: Kind("/readyz", _ours),
    LITELLM: Kind("/health/liveliness", _litellm),
    HAPROXY: Kind("/health", peers.haproxy),
    ENVOY: Kind("/health", peers.envoy),
    SGLANG_ROUTER: Kind("/readiness", peers.sglang_router),
    PORTKEY: Kind("/", peers.portkey),
    OURS_FOUR: Kind("/readyz", partial(_ours, backends=4)),
    OURS_GRPC: Kind("/readyz", _ours_grpc),
}
ALL = (DIRECT, *KINDS)
DEFAULT = (DIRECT, NGINX, OURS, LITELLM)


def before(checkout: Path) -> Kind:
    """An earlier checkout of this project, run with the packages of this one."""
    return Kind("/readyz", partial(_ours, checkout=checkout))


def start(processes: Processes, name: str, backend_port: int) -> Contestant:
    """Starts a contestant, times how long it takes to be ready, and reads its memory once it has settled."""
    if name == DIRECT:
        return Contestant(name, backend_port, server=None)
    kind, port = KINDS[name], free_port()
    folder = processes.folder / name
    folder.mkdir(exist_ok=True)
    command = kind.prepare(folder, port, backend_port)
    began_s = time.monotonic()
    server = processes.start(name, command, port)
    wait_until_ready(server, kind.ready_path)
    ready_s = time.monotonic() - began_s
    time.sleep(SETTLE_S)
    return Contestant(name, port, server, command, ready_s, procfs.rss_bytes(procfs.session_pids(server.session)))
