"""How many games run, as far as GameMode knows."""

from ollama_proxyd.edges.plumbing.dbus_properties import NotRunning
from ollama_proxyd.edges.sensors.desktop_services import read_gamemode as read
from tests.reasons import because, unavailable, why


def test_the_games_that_asked_for_strength_are_counted() -> None:
    assert read(({"ClientCount": 2},)) == {"games": 2}


def test_no_game_runs_while_the_first_one_has_not_started_gamemode() -> None:
    assert read((NotRunning(because("GameMode is not running"), is_installed=True),)) == {"games": 0}


def test_without_gamemode_nobody_knows_of_games() -> None:
    gone = NotRunning(because("GameMode is not installed"), is_installed=False)
    assert read((gone,)) == {"games": gone}


def test_a_gamemode_that_does_not_answer_says_so() -> None:
    silent = unavailable("GameMode does not answer")
    assert read((silent,)) == {"games": silent}


def test_a_gamemode_that_does_not_count_is_not_taken_for_none() -> None:
    assert why(read(({},))["games"]) == "GameMode does not report how many games run"
