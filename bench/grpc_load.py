"""The load over gRPC: paced streams of GenerateStream, and how late each chunk is; prints what bench/load.c prints.

usage: python -m bench.grpc_load PORT STREAMS INTERVAL_US RAMP_MS OPEN_MS MEASURE_MS
"""

import asyncio
import json
import re
import sys
import time
from contextlib import suppress

import grpc

from ollama_proxyd.edges.grpc_api import compute_pb2 as pb

METHOD = "/compute.v1.ComputeService/GenerateStream"
CLOCK = re.compile(r"@t=([0-9]{20})@")
LATE_NS = 20_000_000
AFTER_US = 5_000_000
"""So much longer than the measurement a stream lives."""


class Load:
    """The streams on one connection, and what came of them."""

    def __init__(self, port: int, streams: int, interval_us: int, span_us: int) -> None:
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        self._call = self._channel.unary_stream(
            METHOD,
            request_serializer=pb.GenerateRequest.SerializeToString,
            response_deserializer=pb.GenerateStreamResponse.FromString,
        )
        tokens = (span_us + AFTER_US) // interval_us
        prompt = f"Why is the sky blue? interval_us={interval_us} tokens={tokens}"
        self._question = pb.GenerateRequest(prompt=prompt, model="bench")
        self.streams = streams
        self.delays_ns: list[int] | None = None
        self.errors = self.open = 0
        self.are_open = asyncio.Event()

    async def run(self) -> None:
        """One stream, until it ends, which it does not by itself while it is measured."""
        is_open = False
        try:
            async for each in self._call(self._question):
                for sent in CLOCK.findall(each.token):
                    if self.delays_ns is not None:
                        self.delays_ns.append(max(time.monotonic_ns() - int(sent), 0))
                    if not is_open:
                        is_open = True
                        self._note_open()
        except grpc.RpcError as error:
            print(error.code(), error.details(), file=sys.stderr)
        self.errors += 1

    def _note_open(self) -> None:
        self.open += 1
        if self.open == self.streams:
            self.are_open.set()

    def result(self, measured_s: float) -> dict[str, object]:
        """As load.c tells it."""
        delays_ns = sorted(self.delays_ns or [])
        told = {"event": "result", "mode": "grpc", "measured_s": measured_s, "samples": len(delays_ns)}
        for name, share in {"p50_ms": 0.5, "p99_ms": 0.99, "max_ms": 1.0}.items():
            told[name] = delays_ns[int(share * (len(delays_ns) - 1) + 0.5)] / 1e6 if delays_ns else None
        late = sum(each > LATE_NS for each in delays_ns)
        return {**told, "late": late, "open": self.open, "errors": self.errors, "reconnects": 0}


async def main() -> None:
    """Opens the streams evenly over the ramp, measures, and keeps them open until its input ends."""
    port, streams, interval_us, ramp_ms, open_ms, measure_ms = map(int, sys.argv[1:])
    load = Load(port, streams, interval_us, 1000 * (ramp_ms + open_ms + measure_ms))
    running = []
    for _ in range(streams):
        running.append(asyncio.create_task(load.run()))
        await asyncio.sleep(ramp_ms / 1000 / streams)
    with suppress(TimeoutError):
        await asyncio.wait_for(load.are_open.wait(), open_ms / 1000)
    print('{"event":"begin"}', flush=True)
    load.delays_ns, began_s = [], time.monotonic()
    await asyncio.sleep(measure_ms / 1000)
    print(json.dumps(load.result(time.monotonic() - began_s)), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for each in running:
        each.cancel()


if __name__ == "__main__":
    asyncio.run(main())
