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


def test_mlx_is_given_a_folder_that_is_there_as_its_cache_and_room_for_long_answers() -> None:
    program = EngineProgram(kind=ProgramKind.MLX)
    assert program.variables(VALUES) == ("HF_HUB_CACHE=/m/a b.gguf", "HF_HUB_OFFLINE=1")
    assert program.words(VALUES)[-2:] == ("--max-tokens", "4096")
