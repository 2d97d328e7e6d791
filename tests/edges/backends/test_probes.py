"""Health checks: what each kind of server tells, and that busy is not down."""

import asyncio
import gc
import json
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from ollama_proxyd.core.counts import human_count
from ollama_proxyd.core.errors import ENGINE_DEAD, ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted
from ollama_proxyd.core.fleet import LoadedModel, Model, Probe
from ollama_proxyd.core.requests import Api, Hints
from ollama_proxyd.core.slots import Slots, SlotsFrom
from ollama_proxyd.dialects.ollama.models import render_tags
from ollama_proxyd.dialects.openai.parse import parse_chat as openai_chat
from ollama_proxyd.edges.backends import details
from ollama_proxyd.edges.backends.backend import EngineBackend
from ollama_proxyd.edges.backends.engines.ollama import ENGINE as OLLAMA
from ollama_proxyd.edges.backends.engines.vllm import ENGINE as VLLM
from ollama_proxyd.edges.backends.findings import Findings, combine
from ollama_proxyd.edges.plumbing.http import Timeouts
from ollama_proxyd.edges.plumbing.port_owner import CommandLine
from tests.upstreams.engines import ENGINES, LLAMACPP_PROPS, OLLAMA_TAGS, an_engine, llamacpp, ollama, openai_list
from tests.upstreams.fake_engines import FakeEngine, Says, a_client, serving, serving_at, spec_of


async def probe_of(engine: FakeEngine, kind: Api = Api.OPENAI, flavor: str = "generic") -> Probe:
    async with serving(engine), a_client() as client:
        return await EngineBackend(spec_of(engine.url, kind, flavor), client).probe()


async def failure_of(engine: FakeEngine, kind: Api = Api.OPENAI, flavor: str = "generic") -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        await probe_of(engine, kind, flavor)
    return caught.value


TINY = Model(
    name="tiny:latest",
    size_bytes=452725,
    digest="b057f0974b1d",
    modified_at="2026-11-20T11:58:24.921052393Z",
    family="llama",
    parameter_size="163K",
    quantization="Q8_0",
    format="gguf",
    context_length=4096,
    embedding_length=64,
    capabilities=frozenset({"completion", "tools", "thinking"}),
)


async def test_ollama_tells_its_models_what_they_can_do_and_which_are_loaded() -> None:
    probe = await probe_of(ollama(), Api.OLLAMA)
    assert probe.models == (TINY,)
    assert probe.loaded == (
        LoadedModel(
            "tiny:latest",
            size_bytes=6868172,
            size_vram_bytes=0,
            context_length=4096,
            expires_at="2026-11-20T12:03:25.625297689Z",
            expires_unix_s=1795176205.625297,
        ),
    )
    assert probe.version == "0.33.0"


@pytest.mark.parametrize(("kind", "engine"), [(Api.OLLAMA, ollama()), (Api.OPENAI, llamacpp())])
async def test_a_health_check_keeps_no_connection_for_a_next_one_that_comes_too_late(
    kind: Api, engine: FakeEngine
) -> None:
    await probe_of(engine, kind)
    checks = [asked for asked in engine.asked if asked.method == "GET"]
    assert checks
    assert {asked.headers.get("Connection") for asked in checks} == {"close"}


async def test_an_ollama_model_is_asked_once_what_it_can_do() -> None:
    async with serving(ollama()) as engine, a_client() as client:
        backend = EngineBackend(spec_of(engine.url, Api.OLLAMA), client)
        assert await backend.probe() == await backend.probe()
    assert sum(asked.path == "/api/show" for asked in engine.asked) == 1


async def test_an_imitator_of_ollama_needs_only_the_list() -> None:
    engine = FakeEngine({"GET /api/tags": Says(OLLAMA_TAGS)})
    probe = await probe_of(engine, Api.OLLAMA)
    assert probe.loaded is None
    assert probe.version is None
    assert probe.models[0].capabilities == {"completion"}


async def test_ollama_without_a_list_is_down() -> None:
    error = await failure_of(FakeEngine({"GET /api/version": Says({"version": "1"})}), Api.OLLAMA)
    assert error.status == 404


async def test_odd_entries_are_left_out_and_odd_facts_count_as_not_said() -> None:
    tags = {"models": [{"name": "odd", "size": "big", "digest": 7, "details": [], "capabilities": "all"}, {"x": 1}, 3]}
    probe = await probe_of(FakeEngine({"GET /api/tags": Says(tags)}), Api.OLLAMA)
    assert probe.models == (Model("odd"),)


async def test_a_digest_that_another_proxy_made_of_the_name_is_none() -> None:
    tags = msgspec.json.decode(render_tags([(Model("tiny"), ("cpu",))]))
    (model,) = (await probe_of(FakeEngine({"GET /api/tags": Says(tags)}), Api.OLLAMA)).models
    assert model.digest is None


async def test_llama_server_tells_what_it_knows_of_its_model() -> None:
    probe = await probe_of(llamacpp(), flavor="llamacpp")
    assert probe.models == (
        Model(
            name="tiny",
            size_bytes=434432,
            modified_at="2026-11-20T15:29:12Z",
            parameter_size="163K",
            quantization="Q8_0",
            format="gguf",
            context_length=4096,
            embedding_length=64,
            capabilities=frozenset({"completion", "tools", "thinking"}),
        ),
    )
    assert probe.loaded == (LoadedModel("tiny", size_bytes=434432, context_length=2048),)
    assert (probe.slots, probe.version) == (Slots(4, SlotsFrom.TOLD), "b11669-Debian")


async def test_a_model_named_for_embedding_is_taken_for_one() -> None:
    engine = llamacpp()
    engine.routes["GET /v1/models"] = Says(openai_list("tinyembed"))
    probe = await probe_of(engine, flavor="llamacpp")
    assert probe.models[0].capabilities == {"embedding"}


async def test_llama_server_without_props_still_counts() -> None:
    engine = llamacpp()
    del engine.routes["GET /props"]
    probe = await probe_of(engine, flavor="llamacpp")
    assert probe.slots is None
    assert probe.models[0].capabilities is None


async def test_a_sleeping_llama_server_has_nothing_loaded() -> None:
    engine = llamacpp()
    engine.routes["GET /props"] = Says({**LLAMACPP_PROPS, "is_sleeping": True})
    assert (await probe_of(engine, flavor="llamacpp")).loaded == ()


async def test_a_router_of_llama_servers_tells_which_models_are_loaded() -> None:
    engine = llamacpp()
    models = openai_list("one", "two")
    models["data"][0]["status"] = {"value": "loaded"}
    models["data"][1]["status"] = {"value": "unloaded"}
    engine.routes["GET /v1/models"] = Says(models)
    engine.routes["GET /props"] = Says({"role": "router", "build_info": "b1"})
    probe = await probe_of(engine, flavor="llamacpp")
    assert [model.name for model in probe.models] == ["one", "two"]
    assert probe.loaded == (LoadedModel("one"),)


async def test_a_server_behind_a_socket_is_asked_as_one_at_a_port(tmp_path: Path) -> None:
    engine = FakeEngine({"GET /v1/models": Says({"data": [{"id": "m"}]}), "GET /health": Says({"status": "ok"})})
    async with serving_at(engine, tmp_path / "s"), a_client() as client:
        backend = EngineBackend(spec_of(f"unix:{tmp_path}/s", Api.OPENAI, "llamacpp"), client, "key")
        assert [each.name for each in (await backend.probe()).models] == ["m"]
    assert {each.headers["Authorization"] for each in engine.asked} == {"Bearer key"}
    async with a_client() as client:
        with pytest.raises(ProxyError, match=f"at unix:{tmp_path}/s cannot be reached"):
            await EngineBackend(spec_of(f"unix:{tmp_path}/s", Api.OPENAI, "llamacpp"), client).probe()


async def test_llama_server_that_loads_its_model_is_down_and_says_why() -> None:
    engine = llamacpp()
    loading = {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}
    for path in ("/health", "/v1/models", "/props"):
        engine.routes[f"GET {path}"] = Says(loading, 503)
    error = await failure_of(engine, flavor="llamacpp")
    assert error.kind is ErrorKind.UPSTREAM_FAILED
    assert error.message.endswith("answered 503: Loading model")


async def test_a_llama_server_without_a_free_slot_is_busy_not_down() -> None:
    engine = llamacpp()
    async with serving(engine), a_client() as client:
        backend = EngineBackend(spec_of(engine.url, Api.OPENAI, "llamacpp"), client)
        before = await backend.probe()
        engine.routes["GET /health"] = Says({"status": "no slot available"}, 503)
        after = await backend.probe()
    assert after == before


async def hangs(request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_slow_check_is_busy_while_a_request_is_under_way_and_down_when_none_is() -> None:
    engine = llamacpp()
    sse = web.StreamResponse(headers={"Content-Type": "text/event-stream"})

    async def answers(request: web.Request) -> web.StreamResponse:
        await sse.prepare(request)
        await sse.write(b": hello\n\n")
        return await hangs(request)

    engine.routes["POST /v1/chat/completions"] = answers
    body = {"model": "tiny", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    async with serving(engine), a_client(Timeouts(probe_s=0.05)) as client:
        backend = EngineBackend(spec_of(engine.url, Api.OPENAI, "llamacpp"), client)
        before = await backend.probe()
        engine.routes["GET /health"] = hangs
        events = backend.answer(openai_chat(json.dumps(body).encode(), Hints()), "tiny")
        assert isinstance(await anext(events), Accepted)
        assert await backend.probe() == before
        await events.aclose()
        with pytest.raises(ProxyError) as caught:
            await backend.probe()
    assert caught.value.kind is ErrorKind.UPSTREAM_TIMEOUT


async def test_a_check_that_ends_as_it_begins_leaves_no_question_behind(recwarn: pytest.WarningsRecorder) -> None:
    async with a_client() as client:
        backend = EngineBackend(spec_of("http://127.0.0.1:1", Api.OPENAI, "llamacpp"), client)
        check = asyncio.create_task(backend.probe())
        await asyncio.sleep(0)  # its questions are made, and none is asked yet
        check.cancel()
        with pytest.raises(asyncio.CancelledError):
            await check
    gc.collect()
    assert [str(each.message) for each in recwarn if each.category is RuntimeWarning] == []


@pytest.mark.parametrize("error", ["no valid key", {"message": "no valid key", "code": 401}])
async def test_an_error_in_place_of_a_list_is_one_whatever_the_status_says(error: object) -> None:
    failure = await failure_of(FakeEngine({"GET /v1/models": Says({"error": error})}))
    assert "reported an error: no valid key" in failure.message


async def test_a_list_that_is_no_json_is_an_error() -> None:
    error = await failure_of(FakeEngine({"GET /v1/models": Says(b"<html>", headers={"Content-Type": "text/html"})}))
    assert "not JSON (text/html)" in error.message


@pytest.mark.parametrize("flavor", [name for name in ENGINES if name != "ollama"])
async def test_every_known_engine_can_be_checked(flavor: str) -> None:
    assert (await probe_of(ENGINES[flavor](), flavor=flavor)).models


async def test_lm_studio_tells_kinds_of_models_and_which_is_loaded() -> None:
    probe = await probe_of(ENGINES["lmstudio"](), flavor="lmstudio")
    assert [model.capabilities for model in probe.models] == [{"completion", "vision", "tools"}, {"embedding"}]
    assert probe.loaded == (LoadedModel("qwen", context_length=4096),)


async def test_lemonade_tells_what_its_models_can_do_and_which_is_loaded() -> None:
    probe = await probe_of(ENGINES["lemonade"](), flavor="lemonade")
    assert [model.capabilities for model in probe.models] == [{"completion", "tools", "thinking"}, {"embedding"}]
    assert probe.loaded == (LoadedModel("Qwen-NPU"),)


async def test_koboldcpp_answers_one_request_at_a_time() -> None:
    assert (await probe_of(ENGINES["koboldcpp"](), flavor="koboldcpp")).slots == Slots(1, SlotsFrom.TOLD)


async def test_sglang_says_whether_it_generates() -> None:
    probe = await probe_of(ENGINES["sglang"](), flavor="sglang")
    assert probe.models == (Model("Qwen/Qwen3", context_length=40960, capabilities=frozenset({"completion"})),)


async def test_a_server_of_one_model_has_it_loaded_and_an_unknown_one_does_not_say() -> None:
    assert (await probe_of(ENGINES["vllm"](), flavor="vllm")).loaded == (LoadedModel("tiny"),)
    assert (await probe_of(ENGINES["generic"]())).loaded is None


async def test_ollamas_show_gets_the_clients_fields_and_the_backends_name() -> None:
    async with serving(ollama()) as engine, a_client() as client:
        backend = EngineBackend(spec_of(engine.url, Api.OLLAMA), client)
        shown = await backend.show("tiny:latest", {"name": "TINY", "verbose": True})
    assert engine.asked[0].json == {"verbose": True, "model": "tiny:latest"}
    assert shown["capabilities"] == ["tools", "thinking", "completion"]


async def test_an_openai_backend_shows_what_it_tells_of_its_model() -> None:
    async with serving(llamacpp()) as engine, a_client() as client:
        backend = EngineBackend(spec_of(engine.url, Api.OPENAI, "llamacpp"), client)
        shown = await backend.show("tiny", {"model": "tiny"})
        with pytest.raises(ProxyError) as caught:
            await backend.show("nope", {})
    assert shown["details"]["quantization_level"] == "Q8_0"
    assert shown["template"] == LLAMACPP_PROPS["chat_template"]
    assert shown["capabilities"] == ["completion", "thinking", "tools"]
    assert (caught.value.kind, caught.value.status) == (ErrorKind.UPSTREAM_REJECTED, 404)


def test_the_earlier_of_two_answers_counts_and_the_later_one_fills_in() -> None:
    probe = combine(
        [Findings((Model("m", family="a"),)), Findings((Model("m", family="b", format="gguf"),), version="1")]
    )
    assert probe == Probe((Model("m", family="a", format="gguf"),), version="1")


@pytest.mark.parametrize(
    ("number", "written"),
    [(None, None), (162752, "163K"), (7_000_000_000, "7B"), (1_540_000_000, "1.5B"), (22_700_000, "22.7M"), (9, "9")],
)
def test_parameters_are_written_as_ollama_writes_them(number: int | None, written: str | None) -> None:
    assert human_count(number) == written


async def test_a_configured_server_of_unknown_make_is_recognised_once_it_is_up() -> None:
    async with serving(llamacpp()) as engine, a_client() as client:
        backend = EngineBackend(spec_of(engine.url, Api.OPENAI, "generic"), client)
        probe = await backend.probe()
        assert probe.flavor == "llamacpp"
        assert probe.slots == Slots(4, SlotsFrom.TOLD)
        asked = len(engine.asked)
        await backend.probe()
        assert len(engine.asked) - asked < 6


@pytest.mark.parametrize("flavor", ["generic", "vllm"])
@pytest.mark.parametrize("status", [404, 401, 400, 500, 503])
async def test_an_engine_that_lists_its_models_is_up_whatever_a_guessed_health_route_says(
    flavor: str, status: int
) -> None:
    models = openai_list("m")
    models["data"][0]["owned_by"] = "vllm"
    engine = FakeEngine({"GET /v1/models": Says(models), "GET /health": Says({}, status)})
    async with serving(engine), a_client() as client:
        backend = EngineBackend(spec_of(engine.url, Api.OPENAI, flavor), client)
        for _ in range(2):
            assert [model.name for model in (await backend.probe()).models] == ["m"]


async def test_an_engine_whose_health_route_once_answered_is_down_when_it_fails() -> None:
    async with serving(llamacpp()) as engine, a_client() as client:
        backend = EngineBackend(spec_of(engine.url, Api.OPENAI, "llamacpp"), client)
        await backend.probe()
        engine.routes["GET /health"] = Says({}, 500)
        with pytest.raises(ProxyError):
            await backend.probe()


async def test_vllm_whose_engine_has_died_says_so_once_it_was_well() -> None:
    vllm = ENGINES["vllm"]()
    async with serving(vllm), a_client() as client:
        backend = EngineBackend(spec_of(vllm.url, Api.OPENAI, "vllm"), client)
        await backend.probe()
        vllm.routes["GET /health"] = Says(b"", 503)
        with pytest.raises(ProxyError) as failure:
            await backend.probe()
    assert failure.value.code == ENGINE_DEAD


async def test_mlx_whose_generation_has_died_is_down_though_it_lists_its_model() -> None:
    mlx = ENGINES["mlx"]()
    mlx.routes["GET /health"] = Says({"status": "unavailable"}, 503)
    failure = await failure_of(mlx, flavor="mlx")
    assert (failure.code, failure.status) == (ENGINE_DEAD, 503)


async def test_mlx_is_asked_for_one_token_until_its_model_is_in_memory() -> None:
    whole = {"object": "text_completion", "choices": [{"index": 0, "finish_reason": "length", "text": "!"}]}
    for flavor, asked in (("mlx", [{"model": "tiny", "prompt": "a", "max_tokens": 1}]), ("vllm", [])):
        async with serving(FakeEngine({"POST /v1/completions": Says(whole)})) as engine, a_client() as client:
            await EngineBackend(spec_of(engine.url, Api.OPENAI, flavor), client).settle("tiny")
            assert [each.json for each in engine.asked] == asked


async def test_an_engine_that_lacks_the_routes_of_a_guess_is_served_as_any_engine() -> None:
    answers = {"/lmstudio-greeting": {"lmstudio": True}, "/v1/models": openai_list("m")}
    probe = await probe_of(an_engine(answers), flavor="generic")
    assert [model.name for model in probe.models] == ["m"]
    assert probe.flavor is None


@pytest.mark.parametrize("said", [Says({}, 500), Says({}, 401), Says(b"oops"), Says({}, 503)])
async def test_an_engine_whose_guessed_list_fails_is_up_by_the_list_that_answers(said: Says) -> None:
    engine = an_engine({"/lmstudio-greeting": {"lmstudio": True}, "/v1/models": openai_list("m")})
    engine.routes["GET /api/v0/models"] = said
    async with serving(engine), a_client() as client:
        backend = EngineBackend(spec_of(engine.url, Api.OPENAI, "generic"), client)
        for _ in range(2):
            assert [model.name for model in (await backend.probe()).models] == ["m"]


async def test_a_known_engine_that_is_too_old_for_its_list_is_up_by_the_list_of_all() -> None:
    probe = await probe_of(an_engine({"/v1/models": openai_list("m")}), flavor="lmstudio")
    assert [model.name for model in probe.models] == ["m"]


LIST = b'{"object":"list","data":[{"id":"m"}]}'


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf" + LIST,
        LIST.replace(b'"m"', b'"m","created":NaN'),
        LIST.replace(b'"m"', b'"m","owned_by":"\\ud83d"'),
        b'[{"id":"m"}]',
        b'{"models":[{"name":"m","model":"m"}]}',
        b'{"data":["m"]}',
    ],
)
async def test_a_list_of_models_is_read_as_kindly_as_an_answer(body: bytes) -> None:
    engine = FakeEngine({"GET /v1/models": Says(body, headers={"Content-Type": "application/json"})})
    assert [model.name for model in (await probe_of(engine, flavor="generic")).models] == ["m"]


async def test_a_check_that_fails_right_after_the_recognition_does_not_lose_it() -> None:
    healths = [Says({"status": "ok"}), Says({"error": "loading"}, 503)]

    async def health(_request: web.Request) -> web.StreamResponse:
        return (healths.pop() if len(healths) > 1 else healths[0]).response()

    engine = llamacpp()
    engine.routes["GET /health"] = health
    async with serving(engine), a_client() as client:
        backend = EngineBackend(spec_of(engine.url, Api.OPENAI, "generic"), client)
        with pytest.raises(ProxyError):
            await backend.probe()
        assert (await backend.probe()).flavor == "llamacpp"


async def test_a_request_from_before_the_recognition_still_excuses_a_slow_check() -> None:
    engine, is_full, hangs = llamacpp(), asyncio.Event(), asyncio.Event()

    async def hang(_request: web.Request) -> web.StreamResponse:
        is_full.set()
        await hangs.wait()
        return web.Response()

    engine.routes["POST /v1/chat/completions"] = hang
    timeouts = Timeouts(probe_s=0.2)
    async with serving(engine), a_client(timeouts) as client:
        backend = EngineBackend(spec_of(engine.url, Api.OPENAI, "generic"), client)
        request = openai_chat(b'{"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}', Hints())
        answer = asyncio.ensure_future(anext(backend.answer(request, "tiny")))
        await is_full.wait()
        probe = await backend.probe()
        engine.routes["GET /v1/models"] = engine.routes["GET /health"] = hang
        assert await backend.probe() == probe
        hangs.set()
        with pytest.raises(ProxyError):
            await answer


async def test_a_server_whose_make_is_configured_is_not_asked_what_it_is() -> None:
    assert (await probe_of(llamacpp(), flavor="vllm")).flavor is None


@pytest.mark.parametrize(
    ("flavor", "path", "said"),
    [
        ("vllm", "GET /server_info?config_format=json", {"vllm_config": {"scheduler_config": {"max_num_seqs": 64}}}),
        ("sglang", "GET /get_server_info", {"model_path": "Qwen/Qwen3", "max_running_requests": 64}),
    ],
)
async def test_an_engine_that_batches_may_tell_its_limit(flavor: str, path: str, said: object) -> None:
    engine = ENGINES[flavor]()
    engine.routes[path.partition("?")[0]] = Says(said)
    assert (await probe_of(engine, flavor=flavor)).slots == Slots(64, SlotsFrom.TOLD)


async def test_ollama_says_nothing_of_its_slots_and_its_process_may(monkeypatch: pytest.MonkeyPatch) -> None:
    started = [CommandLine((), {"OLLAMA_NUM_PARALLEL": "3"}), None]
    monkeypatch.setattr("ollama_proxyd.edges.backends.backend.command_line_at", lambda _port: started.pop(0))
    assert (await probe_of(ollama(), Api.OLLAMA, flavor="ollama")).slots == Slots(3, SlotsFrom.READ)
    assert (await probe_of(ollama(), Api.OLLAMA, flavor="ollama")).slots is None


@pytest.mark.parametrize("said", ["", "0", "four", "99999", "-1", "4.0"])
def test_what_is_no_number_of_slots_leaves_them_unknown(said: str) -> None:
    read = OLLAMA.slots_read
    assert read is not None
    assert read(CommandLine((), {"OLLAMA_NUM_PARALLEL": said})) is None
    assert read(CommandLine((), {})) is None


@pytest.mark.parametrize(
    "words", [("--max-num-seqs", "8"), ("--max-num-seqs=8",), ("--max-num-seqs=4", "--max-num-seqs", "8")]
)
def test_vllm_says_on_its_command_line_how_many_sequences_it_takes(words: tuple[str, ...]) -> None:
    read = VLLM.slots_read
    assert read is not None
    assert read(CommandLine(("vllm", "serve", *words, "--port", "8000"), {})) == 8
    assert read(CommandLine(("vllm", "serve", "--max-num-seqs"), {})) is None


async def test_models_are_asked_for_their_details_while_other_questions_wait() -> None:
    """An engine that leaves both open is up before its check ends, since the two waits are one."""
    engine, is_shown = ollama(), asyncio.Event()

    async def show(_: web.Request) -> web.Response:
        is_shown.set()
        return web.json_response({"capabilities": ["completion"]})

    async def running(_: web.Request) -> web.Response:
        await is_shown.wait()
        return web.json_response({"models": []})

    engine.routes |= {"POST /api/show": show, "GET /api/ps": running}
    assert (await probe_of(engine, Api.OLLAMA)).loaded == ()


async def test_what_is_said_of_a_model_is_kept_as_long_as_it_is_listed() -> None:
    engine = ollama()
    engine.routes["POST /api/show"] = Says({"capabilities": ["tools"]})
    async with serving(engine), a_client() as client:
        backend = EngineBackend(spec_of(engine.url, Api.OLLAMA, "ollama"), client)
        for number in (1, 1, 2, 1):
            tag = {**OLLAMA_TAGS["models"][0], "digest": f"{number:064x}"}
            engine.routes["GET /api/tags"] = Says({"models": [tag]})
            assert [each.capabilities for each in (await backend.probe()).models] == [{"tools"}]
    assert [each.path for each in engine.asked].count("/api/show") == 3


async def test_a_server_that_leaves_a_model_s_details_open_is_asked_for_few() -> None:
    engine, asked = ollama(), []

    async def show(request: web.Request) -> web.Response:
        asked.append(await request.json())
        await asyncio.Event().wait()
        raise AssertionError

    models = [{**OLLAMA_TAGS["models"][0], "name": f"m{number}", "model": f"m{number}"} for number in range(20)]
    engine.routes |= {"POST /api/show": show, "GET /api/tags": Says({"models": models})}
    async with serving(engine), a_client(Timeouts(probe_s=0.5)) as client:
        probe = await EngineBackend(spec_of(engine.url, Api.OLLAMA, "ollama"), client).probe()
    assert len(probe.models) == 20
    assert len(asked) < 20


async def test_models_that_are_slow_to_be_told_of_are_asked_for_by_and_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check has a deadline, and a model list that came is worth more than what is said of each."""
    monkeypatch.setattr(details, "BUDGET_S", 0.2)
    engine, asked = ollama(), []

    async def show(request: web.Request) -> web.Response:
        asked.append((await request.json())["model"])
        await asyncio.sleep(0.1)
        return web.json_response({"capabilities": ["completion", "tools"]})

    models = [{**OLLAMA_TAGS["models"][0], "name": f"m{number}", "model": f"m{number}"} for number in range(40)]
    engine.routes |= {"POST /api/show": show, "GET /api/tags": Says({"models": models})}
    async with serving(engine), a_client() as client:
        backend = EngineBackend(spec_of(engine.url, Api.OLLAMA, "ollama"), client)
        told = []
        while len(asked) < 40:
            before = len(asked)
            told.append([model for model in (await backend.probe()).models if "tools" in (model.capabilities or ())])
            assert len(asked) > before
        probe = await backend.probe()
    assert len(told[0]) < 40
    assert len(set(asked)) == len(asked)
    assert [model.name for model in probe.models if "tools" in (model.capabilities or ())] == [
        model["name"] for model in models
    ]
