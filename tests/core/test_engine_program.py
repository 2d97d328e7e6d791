"""The command of an engine that the proxy runs, and the life of its process."""

from ollama_proxyd.core.engine_instances import HELD, Phase, Signal, after
from ollama_proxyd.core.engine_program import PROGRAMS, EngineProgram, ProgramKind

VALUES: dict[str, str | int] = {"model": "/m/a b.gguf", "name": "a b", "port": 4711, "context": 4096, "slots": 4}


def test_a_command_is_filled_in_word_by_word_so_that_no_name_becomes_two() -> None:
    words = EngineProgram(command=("run", "--model={model}", "{port}", "{other}", "{}")).words(VALUES)
    assert words == ("run", "--model=/m/a b.gguf", "4711", "{other}", "{}")


def test_a_value_that_looks_like_a_name_is_not_filled_in_again() -> None:
    assert EngineProgram(command=("{model}",)).words({"model": "{port}", "port": 1}) == ("{port}",)


def test_each_usual_command_has_all_that_it_must_have() -> None:
    assert {kind: EngineProgram(kind).missing for kind in ProgramKind} == dict.fromkeys(PROGRAMS, ())


def test_no_usual_command_shows_the_key() -> None:
    assert not any("key" in word for facts in PROGRAMS.values() for word in facts.command)


def test_a_command_without_a_port_is_told_to_lack_it() -> None:
    assert EngineProgram(command=("run", "{model}")).missing == ("{port}",)


def test_a_process_that_is_to_leave_while_it_loads_never_becomes_ready() -> None:
    leaving = after(Phase.LOADING, Signal.LEAVES)
    assert after(leaving, Signal.LOADED) is Phase.DRAINING


def test_every_phase_ends_with_the_process() -> None:
    assert {after(phase, Signal.ENDED) for phase in Phase} == {Phase.GONE}


def test_memory_counts_from_the_start_of_loading_until_the_end() -> None:
    assert {Phase.WAITING, Phase.GONE} == set(Phase) - HELD


def test_only_a_program_that_knows_sockets_and_is_told_its_host_is_behind_one() -> None:
    host = ("run", "{model}", "--host={host}", "{port}")
    assert EngineProgram().wants_socket
    assert EngineProgram(command=host).wants_socket
    assert not EngineProgram(command=("run", "{model}", "{port}")).wants_socket
    assert not EngineProgram(kind=ProgramKind.VLLM, command=host).wants_socket


def test_a_program_with_an_option_for_a_socket_is_given_no_port_beside_it() -> None:
    program, values = EngineProgram(kind=ProgramKind.VLLM), {**VALUES, "host": "/run/x.sock"}
    assert program.wants_socket
    assert program.words(values, at_socket=True)[-2:] == ("--uds", "/run/x.sock")
    assert program.words(values)[-4:] == ("--host", "127.0.0.1", "--port", "4711")
    assert "--port" not in program.words(values, at_socket=True)


def test_vllm_reserves_what_its_context_takes_and_not_most_of_the_memory() -> None:
    words = EngineProgram(kind=ProgramKind.VLLM).words({**VALUES, "cache": 100_000_000})
    assert words[words.index("--kv-cache-memory-bytes") + 1] == "100000000"


def test_mlx_is_given_a_folder_that_is_there_as_its_cache_and_room_for_long_answers() -> None:
    program = EngineProgram(kind=ProgramKind.MLX)
    assert program.variables(VALUES) == ("HF_HUB_CACHE=/m/a b.gguf", "HF_HUB_OFFLINE=1")
    assert program.words(VALUES)[-2:] == ("--max-tokens", "4096")


def test_each_ollama_has_a_port_of_its_own_the_store_of_all_and_the_context_for_each_slot() -> None:
    program = EngineProgram(ProgramKind.OLLAMA)
    given = dict(each.split("=", 1) for each in program.variables({**VALUES, "folder": "/store"}, is_on_cpu=True))
    assert (given["OLLAMA_HOST"], given["OLLAMA_MODELS"]) == ("127.0.0.1:4711", "/store")
    assert (given["OLLAMA_CONTEXT_LENGTH"], given["OLLAMA_NUM_PARALLEL"]) == ("4096", "4")
    assert (given["OLLAMA_KEEP_ALIVE"], given["CUDA_VISIBLE_DEVICES"]) == ("-1", "-1")


def test_only_an_engine_on_the_processor_is_kept_from_cards() -> None:
    given = EngineProgram(ProgramKind.OLLAMA).variables(VALUES, is_on_cpu=False)
    assert not any("VISIBLE" in each for each in given)


def test_the_variable_by_which_each_process_has_a_port_is_no_entrys_to_set() -> None:
    own = ("OLLAMA_HOST=0.0.0.0", "OLLAMA_MODELS=/x")
    assert set(EngineProgram(ProgramKind.OLLAMA, environment=own).forbidden) == {"OLLAMA_HOST"}
    assert EngineProgram(environment=own).forbidden == {}
