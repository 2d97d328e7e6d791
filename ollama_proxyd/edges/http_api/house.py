"""GET /house, POST /house/pair and /house/unpair: the other machines of the house."""

from contextlib import aclosing
from dataclasses import asdict

import msgspec
from aiohttp import web

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.house import PairingStatus, PeerStatus
from ollama_proxyd.core.requests import Json
from ollama_proxyd.edges.http_api.access import check_manager
from ollama_proxyd.edges.http_api.context import HOUSE
from ollama_proxyd.edges.http_api.strict_json import json_reply, read_struct
from ollama_proxyd.edges.plumbing.surface_json import surface_json
from ollama_proxyd.services.ports import House

LINES = "application/x-ndjson"


class PairChoice(msgspec.Struct):
    """The body that pairs. code: that of the other machine; without it this one shows a code. address: HOST[:PORT]."""

    code: str | None = None
    address: str | None = None


class UnpairChoice(msgspec.Struct):
    """The body that ends a pairing."""

    name: str


async def show(request: web.Request) -> web.Response:
    """The paired machines, and whether a code is shown."""
    house = request.app[HOUSE].value
    if house is None:
        return json_reply({"enabled": False, "peers": []})
    status = house.status()
    pairing = None if status.pairing is None else {"seconds_left": status.pairing.seconds_left}
    peers = [_peer(each) for each in status.peers]
    return json_reply({"enabled": True, **asdict(status), "peers": peers, "pairing": pairing})


async def pair(request: web.Request) -> web.StreamResponse:
    """Pair with the machine whose code is given; without one, lines: a code, and who has used it."""
    check_manager(request, "pair machines")
    choice, house = await read_struct(request, PairChoice), _house(request)
    if choice.code is not None:
        return json_reply(_peer(await house.join(choice.code, choice.address)))
    reply = web.StreamResponse(headers={"Content-Type": LINES})
    async with aclosing(house.show_code()) as told:
        first = await anext(told)  # raises before the answer begins
        await reply.prepare(request)
        await reply.write(_line(first))
        try:
            async for each in told:
                await reply.write(_line(each))
        except ProxyError as error:
            await reply.write(surface_json({"error": error.message}) + b"\n")
    return reply


async def unpair(request: web.Request) -> web.Response:
    """Forget a machine, and cut it off."""
    check_manager(request, "unpair machines")
    choice, house = await read_struct(request, UnpairChoice), _house(request)
    await house.unpair(choice.name)
    return await show(request)


def _house(request: web.Request) -> House:
    house = request.app[HOUSE].value
    if house is None:
        message = "other machines are not used; set house.enabled: true in the configuration, and restart"
        raise ProxyError(ErrorKind.INVALID_REQUEST, message, code="house_off")
    return house


def _line(told: PairingStatus | PeerStatus) -> bytes:
    return surface_json(_peer(told) if isinstance(told, PeerStatus) else asdict(told)) + b"\n"


def _peer(peer: PeerStatus) -> dict[str, Json]:
    return {**asdict(peer), "backends": list(peer.backends)}


ROUTES = (web.get("/house", show), web.post("/house/pair", pair), web.post("/house/unpair", unpair))
