"""The picker's own HTTP/2: what gateways may do, and what ends a stream or a connection."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hpack import Encoder
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.edges.picker_api import ext_proc_pb2 as pb
from ollama_proxyd.edges.picker_api.connection import MOST_STREAMS, WINDOW
from ollama_proxyd.edges.picker_api.frames import (
    ACK,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    PREFACE,
    Code,
    HeadReader,
    Kind,
    Setting,
    frame,
    settings,
)
from ollama_proxyd.edges.picker_api.server import SERVICE
from ollama_proxyd.edges.picker_api.settings import PickerSettings
from ollama_proxyd.edges.plumbing.certificates import self_signed
from tests.edges.picker_api.conftest import LIMITS, Serve, Site, until
from tests.edges.picker_api.test_picker_exchange import chat

PROCESS, CHECK = f"/{SERVICE}/Process", "/grpc.health.v1.Health/Check"
Frame = tuple[int, int, int, bytes]


def said(values: dict[Setting, int]) -> bytes:
    """A frame of settings."""
    return frame(Kind.SETTINGS, 0, 0, settings(values))


class Raw:
    """A connection on which a test writes frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._heads = Encoder()

    def say(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))

    def head(self, number: int, path: str = PROCESS, *, flags: int = END_HEADERS) -> bytes:
        names = [(":method", "POST"), (":scheme", "http"), (":path", path), ("content-type", "application/grpc")]
        return frame(Kind.HEADERS, flags, number, self._heads.encode(names))

    async def hear(self) -> Frame | None:
        """The next frame, None at the end."""
        try:
            async with asyncio.timeout(20):
                start = await self.reader.readexactly(9)
                payload = await self.reader.readexactly(int.from_bytes(start[:3]))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return start[3], start[4], int.from_bytes(start[5:]), payload

    async def until(self, kind: Kind, flags: int = 0) -> bytes:
        """What the next frame of a kind carries."""
        while (heard := await self.hear()) is not None:
            if heard[0] == kind and heard[1] & flags == flags:
                return heard[3]
        raise AssertionError(f"it ended without {kind.name}")

    async def fault(self) -> int:
        """Why the connection is closed."""
        code = int.from_bytes((await self.until(Kind.GOAWAY))[4:8])
        while await self.hear() is not None:
            pass
        return code


@asynccontextmanager
async def raw(
    site: Site, greeting: bytes = PREFACE + said({}), context: ssl.SSLContext | None = None
) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port, ssl=context)
    writer.write(greeting)
    yield Raw(reader, writer)
    writer.close()


def message(told: object) -> bytes:
    content = told.SerializeToString()  # type: ignore[attr-defined]
    return b"\0" + len(content).to_bytes(4) + bytes(content)


def request(mode: int = 4) -> bytes:
    told = pb.ProcessingRequest()
    told.protocol_config.request_body_mode = mode
    told.request_headers.headers.headers.add(key=":path", raw_value=b"/v1/chat/completions")
    return message(told)


def body(content: bytes) -> bytes:
    return message(pb.ProcessingRequest(request_body=pb.HttpBody(body=content, end_of_stream=True)))


def data(number: int, content: bytes, *, flags: int = 0) -> bytes:
    ends = range(FRAME_BYTES, len(content) + FRAME_BYTES, FRAME_BYTES)
    return b"".join(frame(Kind.DATA, flags, number, content[end - FRAME_BYTES : end]) for end in ends)


HUGE = b"\x00\x0fx" + b"a" * 14 + b"\x7f\x80\x80\x01" + b"b" * 16_000
WRONG: dict[str, tuple[Sequence[bytes], Code]] = {
    "a frame that is too large": ([frame(Kind.DATA, 0, 1, b"x" * (FRAME_BYTES + 1))], Code.FRAME_SIZE_ERROR),
    "a body without a head": ([frame(Kind.DATA, 0, 1, b"x")], Code.PROTOCOL_ERROR),
    "the number of a server": ([frame(Kind.HEADERS, END_HEADERS, 2, b"\x83")], Code.PROTOCOL_ERROR),
    "a head that cannot be read": ([frame(Kind.HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff")], Code.COMPRESSION_ERROR),
    "a head that ends too early": ([frame(Kind.HEADERS, END_HEADERS, 1, b"\x40\x05ab")], Code.COMPRESSION_ERROR),
    "a head that grows without end": (
        [frame(Kind.HEADERS, 0, 1, b"\x83"), *[frame(Kind.CONTINUATION, 0, 1, b"\x83" * 9000)] * 2],
        Code.ENHANCE_YOUR_CALM,
    ),
    "a head in empty pieces": (
        [frame(Kind.HEADERS, 0, 1, b"\x83"), frame(Kind.CONTINUATION, 0, 1)],
        Code.ENHANCE_YOUR_CALM,
    ),
    "a head that does not go on": (
        [frame(Kind.HEADERS, 0, 1, b"\x83"), frame(Kind.PING, 0, 0, b"8" * 8)],
        Code.PROTOCOL_ERROR,
    ),
    "what goes on before it begins": ([frame(Kind.CONTINUATION, 0, 1, b"\x83")], Code.PROTOCOL_ERROR),
    "more padding than there is": ([frame(Kind.HEADERS, END_HEADERS | 0x8, 1, b"\xff\x83")], Code.PROTOCOL_ERROR),
    "an end before the beginning": ([frame(Kind.RST_STREAM, 0, 7, b"\0\0\0\0")], Code.PROTOCOL_ERROR),
    "a push": ([frame(Kind.PUSH_PROMISE, 0, 1, b"")], Code.PROTOCOL_ERROR),
    "settings of an odd length": ([frame(Kind.SETTINGS, 0, 0, b"x")], Code.FRAME_SIZE_ERROR),
    "a window beyond all": ([said({Setting.INITIAL_WINDOW_SIZE: 2**31})], Code.FLOW_CONTROL_ERROR),
    "frames too small": ([said({Setting.MAX_FRAME_SIZE: 1})], Code.PROTOCOL_ERROR),
    "too much credit": ([frame(Kind.WINDOW_UPDATE, 0, 0, (2**31 - 1).to_bytes(4))], Code.FLOW_CONTROL_ERROR),
}


@pytest.mark.parametrize("name", WRONG)
async def test_who_breaks_the_protocol_is_told_how_and_left_and_others_are_served(serve: Serve, name: str) -> None:
    site = await serve()
    frames, code = WRONG[name]
    async with raw(site) as gateway:
        gateway.say(*frames)
        assert await gateway.fault() == code
    assert (await site.ask(chat())).addresses


@pytest.mark.parametrize(
    "greeting", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"x"]
)
async def test_what_does_not_speak_http2_is_left(serve: Serve, greeting: bytes) -> None:
    async with raw(await serve(), greeting) as gateway:
        assert await gateway.fault() == Code.PROTOCOL_ERROR


async def test_a_greeting_in_pieces_is_one(serve: Serve) -> None:
    async with raw(await serve(), b"") as gateway:
        for each in PREFACE + said({}) + gateway.head(1, CHECK) + data(1, message(health_pb2.HealthCheckRequest())):
            gateway.say(bytes((each,)))
            await gateway.writer.drain()
        assert health_pb2.HealthCheckResponse.FromString((await gateway.until(Kind.DATA))[5:]).status == 1


async def test_more_than_the_window_allows_ends_the_stream(serve: Serve) -> None:
    async with raw(await serve()) as gateway:
        gateway.say(gateway.head(1), data(1, b"\0" + (10**6).to_bytes(4) + b"x" * (2 * WINDOW)))
        assert int.from_bytes(await gateway.until(Kind.RST_STREAM)) in {Code.NO_ERROR, Code.FLOW_CONTROL_ERROR}


async def test_an_answer_waits_for_the_gateways_windows_and_comes_whole(serve: Serve) -> None:
    site = await serve()
    async with raw(site, PREFACE + said({Setting.INITIAL_WINDOW_SIZE: 0})) as gateway:
        content = chat("x" * 40_000)
        gateway.say(gateway.head(1), data(1, request()), data(1, body(content)))
        await gateway.until(Kind.HEADERS)
        gateway.say(frame(Kind.PING, 0, 0, b"no data!"))
        heard = await gateway.hear()
        while heard is not None and heard[0] != Kind.PING:
            assert heard[0] != Kind.DATA, "nothing was allowed"
            heard = await gateway.hear()
        got = b""
        while content not in _bodies(got):
            more = 7_000
            gateway.say(frame(Kind.WINDOW_UPDATE, 0, 1, more.to_bytes(4)))
            while more:
                more -= len(piece := await gateway.until(Kind.DATA))
                got += piece
                if content in _bodies(got):
                    break
        gateway.say(frame(Kind.RST_STREAM, 0, 1, Code.NO_ERROR.to_bytes(4)))
        await until(lambda: site.in_flight("slow") + site.in_flight("fast") == 0)


def _bodies(heard: bytes) -> bytes:
    """The body that is given back in the messages that are whole."""
    found, at = b"", 0
    while len(heard) - at >= 5 and (end := at + 5 + int.from_bytes(heard[at + 1 : at + 5])) <= len(heard):
        told = pb.ProcessingResponse.FromString(heard[at + 5 : end])
        found += told.request_body.response.body_mutation.streamed_response.body
        at = end
    return found


async def test_settings_that_come_later_change_the_windows_of_streams_under_way(serve: Serve) -> None:
    async with raw(await serve(), PREFACE + said({Setting.INITIAL_WINDOW_SIZE: 0})) as gateway:
        gateway.say(gateway.head(1), data(1, request()), data(1, body(chat())))
        await gateway.until(Kind.HEADERS)
        gateway.say(said({Setting.INITIAL_WINDOW_SIZE: 65_535}))
        assert await gateway.until(Kind.DATA)


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("/nothing", b"", b"12"),
        (PROCESS, b"\1\0\0\0\1x", b"12"),
        (PROCESS, b"\0\0\0\0\1\xff", b"13"),
        (CHECK, b"\0\0\1\0\0" + b"x" * 100, b"8"),
        (CHECK, message(health_pb2.HealthCheckRequest(service="nothing")), b"5"),
    ],
)
async def test_a_call_that_cannot_be_answered_ends_with_a_status(
    serve: Serve, path: str, content: bytes, status: bytes
) -> None:
    async with raw(await serve()) as gateway:
        gateway.say(gateway.head(1, path), data(1, content))
        trailers = await gateway.until(Kind.HEADERS, END_STREAM)
        assert b"grpc-status" + bytes((len(status),)) + status in trailers
        assert int.from_bytes(await gateway.until(Kind.RST_STREAM)) == Code.NO_ERROR
        gateway.say(frame(Kind.DATA, 0, 1, b"late"), gateway.head(1, flags=END_HEADERS | END_STREAM))
        gateway.say(gateway.head(3, CHECK), data(3, message(health_pb2.HealthCheckRequest())))
        assert await gateway.until(Kind.DATA), "other calls go on"


async def test_a_message_that_says_it_is_too_large_is_413_before_it_comes(serve: Serve) -> None:
    site = await serve()
    async with raw(site) as gateway:
        gateway.say(gateway.head(1), data(1, request()), data(1, b"\0" + (LIMITS[0] * 10).to_bytes(4) + b"x"))
        told = pb.ProcessingResponse.FromString((await gateway.until(Kind.DATA))[5:])
        assert told.immediate_response.status.code == 413
        assert site.server.held_bytes == 0


async def test_a_message_under_way_counts_among_all_bodies(serve: Serve) -> None:
    site = await serve()
    async with raw(site) as gateway:
        for number in (1, 3, 5, 7, 9):
            gateway.say(gateway.head(number), data(number, request()))
            gateway.say(data(number, b"\0" + LIMITS[0].to_bytes(4) + b"x"))
        told = pb.ProcessingResponse.FromString((await gateway.until(Kind.DATA))[5:])
        assert told.immediate_response.status.code == 503
    await until(lambda: site.server.held_bytes == 0)


async def test_pings_are_answered_and_what_is_not_known_is_passed_over(serve: Serve) -> None:
    async with raw(await serve()) as gateway:
        gateway.say(frame(0xEE, 0, 0, b"?"), frame(Kind.PRIORITY, 0, 3, b"12345"), frame(Kind.PING, 0, 0, b"12345678"))
        assert await gateway.until(Kind.PING, ACK) == b"12345678"


async def test_streams_of_a_connection_that_is_lost_give_their_slots_back(serve: Serve) -> None:
    site = await serve()
    async with raw(site) as gateway:
        for number in range(1, 41, 2):
            gateway.say(gateway.head(number), data(number, request()), data(number, body(chat())))
        await until(lambda: site.in_flight("slow") + site.in_flight("fast") == 20)
    await until(lambda: site.in_flight("slow") + site.in_flight("fast") == 0)


HEADER = st.tuples(st.sampled_from([b"te", b"x-a", b"x-b"]), st.binary(max_size=60))


@given(st.lists(st.tuples(st.sampled_from(["/a", "/b"]), st.lists(HEADER, max_size=5), st.booleans()), max_size=40))
def test_heads_are_read_as_they_were_written_whatever_came_before(
    heads: list[tuple[str, list[tuple[bytes, bytes]], bool]],
) -> None:
    writer, reader = Encoder(), HeadReader()
    writer.header_table_size = 256  # so that entries leave it
    for path, more, is_huffman in heads:
        block = writer.encode([(b":path", path.encode()), *more], huffman=is_huffman)
        assert reader.path(block) == path


# its end


async def test_at_its_end_it_says_so_and_decides_until_gateways_can_know(serve: Serve) -> None:
    site = await serve(settings=PickerSettings(notice_s=600))
    stub = health_pb2_grpc.HealthStub(site.channel)
    watched = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
    assert (await watched.read()).status == health_pb2.HealthCheckResponse.SERVING
    under_way = await site.ask(chat())
    stopping = asyncio.create_task(site.server.stop(900))
    assert (await watched.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    alive = await stub.Check(health_pb2.HealthCheckRequest(service="liveness"))
    assert alive.status == health_pb2.HealthCheckResponse.SERVING
    late = await site.ask(chat())
    assert late.addresses
    for each in (under_way, late):
        await each.call.read()
        await each.answer_head()
        await each.answer_body(b"{}", ends=True)
        await each.end()
    assert not stopping.done()
    stopping.cancel()


async def test_the_notice_is_over_when_no_gateway_is_left(serve: Serve) -> None:
    site = await serve(settings=PickerSettings(notice_s=600))
    async with raw(site) as gateway:
        gateway.say(gateway.head(1, CHECK), data(1, message(health_pb2.HealthCheckRequest())))
        await gateway.until(Kind.DATA)
        stopping = asyncio.create_task(site.server.stop(900))
    async with asyncio.timeout(30):
        await stopping


async def test_after_the_notice_what_is_under_way_ends_and_nothing_new_begins(serve: Serve) -> None:
    site = await serve()
    under_way = await site.ask(chat())
    stopping = asyncio.create_task(site.server.stop(900))
    await until(lambda: not site.server.is_listening)
    with pytest.raises(OSError, match="onnect"):
        await asyncio.open_connection("127.0.0.1", site.server.port)
    await under_way.call.read()
    assert (await under_way.answer_head()).WhichOneof("response") == "response_headers"
    await under_way.answer_body(b"{}", ends=True)
    await under_way.end()
    async with asyncio.timeout(30):
        await stopping


async def test_what_does_not_end_in_time_is_left_to_the_gateway(serve: Serve) -> None:
    site = await serve()
    await site.ask(chat())
    async with asyncio.timeout(30):
        await site.server.stop(0.1)
    assert site.in_flight("slow") + site.in_flight("fast") == 0


# TLS


def trusting() -> ssl.SSLContext:
    """As gateways connect, which trust the certificate unseen."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


async def shown(port: int) -> bytes | None:
    """The certificate that a gateway sees."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting())
    tls = writer.get_extra_info("ssl_object")
    assert tls.selected_alpn_protocol() == "h2"
    writer.close()
    found: bytes | None = tls.getpeercert(binary_form=True)
    return found


async def test_tls_is_what_gateways_find_unless_it_is_switched_off(serve: Serve) -> None:
    assert PickerSettings().secure_serving
    site = await serve(secure=True)
    async with raw(site, context=trusting()) as gateway:
        gateway.say(gateway.head(1), data(1, request()), data(1, body(chat())))
        assert pb.ProcessingResponse.FromString((await gateway.until(Kind.DATA))[5:]).dynamic_metadata.fields


def write(folder: Path, name: str) -> bytes:
    key, certificate = self_signed(name)
    (folder / "tls.key").write_bytes(key)
    (folder / "tls.crt").write_bytes(certificate)
    return ssl.PEM_cert_to_DER_cert(certificate.decode())


async def test_a_given_certificate_is_shown_and_a_new_one_as_soon_as_it_is_there(serve: Serve, tmp_path: Path) -> None:
    first = write(tmp_path, "first")
    site = await serve(settings=PickerSettings(cert_path=str(tmp_path)), secure=True)
    assert await shown(site.server.port) == first
    second = write(tmp_path, "second")
    assert await shown(site.server.port) == second
    (tmp_path / "tls.key").write_text("torn")
    assert await shown(site.server.port) == second


async def test_a_certificate_that_cannot_be_read_is_said_with_its_option(serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(ProxyError, match=r"tls\.crt.*picker\.cert_path") as refused:
        await serve(settings=PickerSettings(cert_path=str(tmp_path)), secure=True)
    assert refused.value.code == "certificate_unreadable"


async def test_health_is_told_without_tls_on_a_port_of_its_own(serve: Serve) -> None:
    site = await serve(settings=PickerSettings(health_port=0), secure=True)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{site.server.health_port}") as channel:
        told = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="readiness"))
        assert told.status == health_pb2.HealthCheckResponse.SERVING
        process = channel.stream_stream(
            PROCESS,
            request_serializer=pb.ProcessingRequest.SerializeToString,
            response_deserializer=pb.ProcessingResponse.FromString,
        )()
        assert await process.code() is grpc.StatusCode.UNIMPLEMENTED, "nobody decides there"


def test_a_gateway_may_have_a_stream_for_each_answer_under_way() -> None:
    assert MOST_STREAMS >= 10_000
