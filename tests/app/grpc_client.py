"""A client of the gRPC service with code that protoc made for it: many streams at once.

usage: grpc_client FOLDER_OF_THE_CODE PORT STREAMS TARGET...; it prints "begun" when each stream has said something,
and at the end for each what it said and how it ended.
"""

import importlib
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc


def main() -> None:
    folder, port, streams, *targets = sys.argv[1:]
    sys.path.insert(0, folder)
    pb, stubs = importlib.import_module("compute_pb2"), importlib.import_module("compute_pb2_grpc")
    begun = threading.Barrier(int(streams) + 1)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, ThreadPoolExecutor(int(streams)) as pool:
        stub = stubs.ComputeServiceStub(channel)

        def stream(target: str) -> dict[str, Any]:
            told = {"target": target, "text": "", "backend": "", "done": False, "code": "OK"}
            request = pb.GenerateRequest(model="m", prompt="hi", annotations=pb.JobAnnotations(target=target))
            try:
                for each in stub.GenerateStream(request, timeout=30):
                    if not told["text"]:
                        told |= {"backend": each.backend_used, "reason": each.routing.reason}
                        begun.wait()
                    told["text"] += each.token
                    told["done"] = each.done
            except grpc.RpcError as error:
                told["code"] = error.code().name
            return told

        ending = [pool.submit(stream, targets[at % len(targets)]) for at in range(int(streams))]
        begun.wait()
        sys.stdout.write("begun\n")
        sys.stdout.flush()
        sys.stdout.write(json.dumps([each.result() for each in ending]) + "\n")


main()
