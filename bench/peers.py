"""Other proxies that package registries carry, each with one worker, keep-alive on both sides and no access log."""

import json
from pathlib import Path

from bench import tools
from bench.processes import Command

HAPROXY_CFG = """
global
    nbthread 1
    maxconn 8192
defaults
    mode http
    option http-no-delay
    http-reuse always
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend front
    bind 127.0.0.1:{port} backlog 4096
    default_backend back
backend back
    server one 127.0.0.1:{backend_port}
"""
"""Without http-no-delay it holds the first piece of a stream until the next one comes."""

TYPES = "type.googleapis.com/envoy.extensions.filters"


def haproxy(folder: Path, port: int, backend_port: int) -> Command:
    """HAProxy with one thread."""
    config = folder / "haproxy.cfg"
    config.write_text(HAPROXY_CFG.format(port=port, backend_port=backend_port))
    program, libraries = tools.haproxy()
    return Command((program, "-db", "-f", str(config)), {"LD_LIBRARY_PATH": libraries})


def envoy(folder: Path, port: int, backend_port: int) -> Command:
    """Envoy with one worker, without limits on connections."""

    def socket(number: int) -> dict[str, object]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    route = {"match": {"prefix": "/"}, "route": {"cluster": "one", "timeout": "0s"}}
    manager = {
        "@type": f"{TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{TYPES}.http.router.v3.Router"},
            }
        ],
    }
    http = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    most = {"max_connections": 8192, "max_pending_requests": 8192, "max_requests": 8192}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": socket(backend_port)}}]}]
    cluster = {
        "name": "one",
        "type": "STATIC",
        "circuit_breakers": {"thresholds": [most]},
        "load_assignment": {"cluster_name": "one", "endpoints": endpoints},
    }
    listener = {"name": "front", "address": socket(port), "filter_chains": [{"filters": [http]}]}
    config = folder / "envoy.json"
    config.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}))
    options = ("-c", str(config), "--concurrency", "1", "--log-level", "error", "--disable-hot-restart")
    return Command((tools.envoy(), *options))


def portkey(_folder: Path, port: int, backend_port: int) -> Command:
    """Portkey's gateway, which takes from each request where to go."""
    program, host = tools.portkey(), f"http://127.0.0.1:{backend_port}/v1"
    asked = {"x-portkey-provider": "openai", "x-portkey-custom-host": host, "Authorization": "Bearer none"}
    return Command(("node", program, f"--port={port}", "--headless"), {"NODE_ENV": "production"}, asked)


def sglang_router(_folder: Path, port: int, backend_port: int) -> Command:
    """SGLang's router in front of one worker; it is asked for no more than round robin."""
    options = ("--worker-urls", f"http://127.0.0.1:{backend_port}", "--policy", "round_robin", "--log-level", "error")
    return Command((tools.sglang_router(), "launch", "--host", "127.0.0.1", "--port", str(port), *options))
