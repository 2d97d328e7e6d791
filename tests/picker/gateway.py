"""A real Envoy that asks a picker for each request, as a gateway of the Inference Extension does."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.real_things import installed

EXT_PROC = "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor"
MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
OVERRIDE = "type.googleapis.com/envoy.extensions.load_balancing_policies.override_host.v3.OverrideHost"
ROUND_ROBIN = "type.googleapis.com/envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin"
HTTP_OPTIONS = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
ENDPOINT = "x-gateway-destination-endpoint"


def _cluster(name: str, ports: Sequence[int], **more: Any) -> dict[str, Any]:
    places = [{"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}} for port in ports]
    endpoints = [{"lb_endpoints": [{"endpoint": each} for each in places]}]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
        **more,
    }


def config_of(
    picker_port: int, ports: Sequence[int], *, body_mode: str, fails_open: bool, subset: Any, is_secure: bool
) -> Any:
    """Envoy's configuration: an ext_proc filter, and a cluster that goes where the picker says."""
    duplex = body_mode == "FULL_DUPLEX_STREAMED"
    trailers = "SEND" if duplex else "SKIP"
    filters = [
        {
            "name": "picker",
            "typed_config": {
                "@type": EXT_PROC,
                "grpc_service": {"envoy_grpc": {"cluster_name": "picker"}, "timeout": "5s"},
                "failure_mode_allow": fails_open,
                "message_timeout": "5s",
                "processing_mode": {
                    "request_header_mode": "SEND",
                    "response_header_mode": "SEND",
                    "request_body_mode": body_mode,
                    "response_body_mode": body_mode if duplex else "NONE",
                    "request_trailer_mode": trailers,
                    "response_trailer_mode": trailers,
                },
                "metadata_options": {
                    "forwarding_namespaces": {"untyped": ["envoy.lb.subset_hint", "envoy.lb"]},
                    "receiving_namespaces": {"untyped": ["envoy.lb"]},
                },
            },
        },
        {"name": "router", "typed_config": {"@type": ROUTER}},
    ]
    if subset is not None:
        setting = "type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config"
        value = {"x-gateway-destination-endpoint-subset": subset}
        metadata = [{"metadata_namespace": "envoy.lb.subset_hint", "allow_overwrite": True, "value": value}]
        filters.insert(0, {"name": "subset", "typed_config": {"@type": setting, "metadata": metadata}})
    policies = [{"typed_extension_config": {"name": "round_robin", "typed_config": {"@type": ROUND_ROBIN}}}]
    override = {
        "@type": OVERRIDE,
        "override_host_sources": [{"metadata": {"key": "envoy.lb", "path": [{"key": ENDPOINT}]}}, {"header": ENDPOINT}],
        "selected_host_key": {"key": "envoy.lb", "path": [{"key": f"{ENDPOINT}-served"}]},
        "fallback_policy": {"policies": policies},
    }
    own = [{"typed_extension_config": {"name": "override_host", "typed_config": override}}]
    http2 = {
        HTTP_OPTIONS.rpartition("/")[2]: {
            "@type": HTTP_OPTIONS,
            "explicit_http_config": {"http2_protocol_options": {}},
        }
    }
    health = {
        "timeout": "1s",
        "interval": "0.2s",
        "no_traffic_interval": "0.2s",
        "unhealthy_threshold": 1,
        "healthy_threshold": 1,
        "grpc_health_check": {"service_name": "envoy.service.ext_proc.v3.ExternalProcessor"},
    }
    upstream_tls = {"@type": TLS, "common_tls_context": {"alpn_protocols": ["h2"]}}  # whoever answers is trusted
    transport = {"transport_socket": {"name": "tls", "typed_config": upstream_tls}} if is_secure else {}
    route = {
        "match": {"prefix": "/"},
        "route": {
            "cluster": "engines",
            "timeout": "60s",
            "retry_policy": {"retry_on": "connect-failure", "num_retries": 2},
        },
    }
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "http",
                        "typed_config": {
                            "@type": MANAGER,
                            "stat_prefix": "http",
                            "http_filters": filters,
                            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
                        },
                    }
                ]
            }
        ],
    }
    return {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {
            "listeners": [{"name": "clients", **listener}],
            "clusters": [
                _cluster("engines", ports, load_balancing_policy={"policies": own}),
                _cluster(
                    "picker",
                    [picker_port],
                    typed_extension_protocol_options=http2,
                    common_lb_config={"healthy_panic_threshold": {"value": 0}},
                    health_checks=[health],
                    **transport,
                ),
            ],
        },
    }


@asynccontextmanager
async def gateway(
    folder: Path,
    picker_port: int,
    ports: Sequence[int],
    *,
    body_mode: str = "FULL_DUPLEX_STREAMED",
    fails_open: bool = True,
    subset: Any = None,
    is_secure: bool = False,
) -> AsyncIterator[str]:
    """Envoy's address, while it runs."""
    file, admin = folder / "envoy.json", folder / "admin"
    admin.unlink(missing_ok=True)
    file.write_text(
        json.dumps(
            config_of(
                picker_port, ports, body_mode=body_mode, fails_open=fails_open, subset=subset, is_secure=is_secure
            )
        )
    )
    command = [installed("install-envoy"), "-c", str(file), "--admin-address-path", str(admin), "--concurrency", "1"]
    with (folder / "envoy.log").open("wb") as log:
        program = await asyncio.create_subprocess_exec(
            "nice", "-n", "15", *command, "--use-dynamic-base-id", "--log-level", "warning", stdout=log, stderr=log
        )
        try:
            async with asyncio.timeout(30):
                yield await _address(program, admin, folder / "envoy.log")
        finally:
            if program.returncode is None:
                program.kill()
            await program.wait()


async def _address(program: asyncio.subprocess.Process, admin: Path, log: Path) -> str:
    """Where clients reach it, as soon as it listens."""
    async with aiohttp.ClientSession() as client:
        while True:
            assert program.returncode is None, _text(log)
            try:
                async with client.get(f"http://{_text(admin)}/ready") as reply:
                    reply.raise_for_status()
                async with client.get(f"http://{_text(admin)}/listeners?format=json") as reply:
                    (listener,) = (await reply.json(content_type=None))["listener_statuses"]
                    return f"http://127.0.0.1:{listener['local_address']['socket_address']['port_value']}"
            except (OSError, ValueError, KeyError, aiohttp.ClientError):
                await asyncio.sleep(0.05)


def _text(file: Path) -> str:
    return file.read_text()
