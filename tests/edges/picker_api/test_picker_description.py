"""The description of external processing: what protoc makes of it, and Envoy's own field numbers."""

from pathlib import Path

import grpc_tools
from grpc_tools import protoc

from ollama_proxyd.edges import picker_api
from ollama_proxyd.edges.picker_api import ext_proc_pb2

FOLDER = Path(picker_api.__file__).parent
NUMBERS = {
    "ProtocolConfiguration": {"request_body_mode": 1, "response_body_mode": 2},
    "ProcessingRequest": {
        "request_headers": 2,
        "response_headers": 3,
        "request_body": 4,
        "response_body": 5,
        "request_trailers": 6,
        "response_trailers": 7,
        "metadata_context": 8,
        "observability_mode": 10,
        "protocol_config": 11,
    },
    "HttpHeaders": {"headers": 1, "end_of_stream": 3},
    "HttpBody": {"body": 1, "end_of_stream": 2},
    "HttpTrailers": {},
    "ProcessingResponse": {
        "request_headers": 1,
        "response_headers": 2,
        "request_body": 3,
        "response_body": 4,
        "request_trailers": 5,
        "response_trailers": 6,
        "immediate_response": 7,
        "dynamic_metadata": 8,
    },
    "CommonResponse": {"header_mutation": 2, "body_mutation": 3, "clear_route_cache": 5},
    "ImmediateResponse": {"status": 1, "headers": 2, "body": 3, "details": 5},
    "HeaderMutation": {"set_headers": 1},
    "BodyMutation": {"streamed_response": 3},
    "StreamedBodyResponse": {"body": 1, "end_of_stream": 2},
    "Metadata": {"filter_metadata": 1},
    "HeaderMap": {"headers": 1},
    "HeaderValue": {"key": 1, "value": 2, "raw_value": 3},
    "HeaderValueOption": {"header": 1, "append_action": 3},
    "HttpStatus": {"code": 1},
}
"""As in Envoy 1.40."""


def test_what_protoc_made_is_up_to_date(tmp_path: Path) -> None:
    known = Path(grpc_tools.__file__).parent / "_proto"
    assert protoc.main(["protoc", f"-I{FOLDER}", f"-I{known}", f"--python_out={tmp_path}", "ext_proc.proto"]) == 0
    made, kept = (folder / "ext_proc_pb2.py" for folder in (tmp_path, FOLDER))
    assert made.read_text() == kept.read_text(), "run scripts/protos"


def test_messages_have_envoys_numbers() -> None:
    messages = ext_proc_pb2.DESCRIPTOR.message_types_by_name
    for name, numbers in NUMBERS.items():
        assert {field.name: field.number for field in messages[name].fields} == numbers
    modes = messages["ProcessingMode"].enum_types_by_name["BodySendMode"].values_by_name
    assert {name: value.number for name, value in modes.items()} == {
        "NONE": 0,
        "STREAMED": 1,
        "BUFFERED": 2,
        "BUFFERED_PARTIAL": 3,
        "FULL_DUPLEX_STREAMED": 4,
        "GRPC": 5,
    }
