"""The benchmark's arithmetic: ratios within a round, noise thrown away, verdicts that follow the bounds."""

from dataclasses import replace

from bench.measuring import NOISE_CORES, Measurement
from bench.summary import Goal, Results, Spread, render


def measurement(contestant: str, turn: int = 1, *, p50_ms: float = 1.0, others_cores: float = 0.0) -> Measurement:
    return Measurement(
        round=turn,
        scenario="ttft",
        contestant=contestant,
        connections=1,
        measured_s=2.0,
        samples=100,
        p50_ms=p50_ms,
        p99_ms=2.0,
        max_ms=3.0,
        late=5,
        open=1,
        errors=0,
        cpu_s=0.5,
        rss_bytes=0,
        others_cores=others_cores,
    )


def results(*measurements: Measurement) -> Results:
    return Results(measurements, started=(), names=("direct", "nginx", "ours", "litellm"))


def p50(m: Measurement) -> float:
    return m.p50_ms


def test_a_ratio_is_taken_between_measurements_of_the_same_round() -> None:
    both = results(
        measurement("ours", 1, p50_ms=4),
        measurement("nginx", 1, p50_ms=2),
        measurement("ours", 2, p50_ms=30),
        measurement("nginx", 2, p50_ms=10),
    )
    assert both.ratio("ttft", "ours", "nginx", p50).values == (2.0, 3.0)


def test_a_measurement_that_others_disturbed_takes_part_in_nothing() -> None:
    noisy = results(measurement("ours"), measurement("nginx", others_cores=NOISE_CORES + 0.01))
    assert noisy.ratio("ttft", "ours", "nginx", p50).values == ()
    assert noisy.thrown_away == 1


def test_what_is_added_is_the_difference_to_talking_directly() -> None:
    trio = results(measurement("direct", p50_ms=1), measurement("ours", p50_ms=3), measurement("litellm", p50_ms=41))
    assert trio.added("ttft", "ours", p50).values == (2.0,)
    assert trio.added_ratio("ttft", "ours", "litellm", p50).values == (20.0,)


def test_a_round_in_which_nothing_was_added_gives_no_ratio_of_what_was_added() -> None:
    trio = results(measurement("direct"), measurement("ours"), measurement("litellm", p50_ms=41))
    assert trio.added_ratio("ttft", "ours", "litellm", p50).values == ()


def test_a_goal_is_met_at_its_bound_and_missed_beyond() -> None:
    assert Goal("x", Spread((1.0, 2.0, 9.0)), 2).row()[-1] == "met"
    assert Goal("x", Spread((1.0, 2.1, 9.0)), 2).row()[-1] == "missed"
    assert Goal("x", Spread((19.0,)), 20, at_most=False).row()[-1] == "missed"


def test_a_goal_without_a_measurement_is_neither_met_nor_missed() -> None:
    assert Goal("x", Spread(()), 2).row()[-1] == "not measured"


def test_failures_and_connections_that_were_never_served_are_told() -> None:
    assert "remark" not in render(results(measurement("ours")), Spread(())).lower()
    told = render(results(replace(measurement("ours"), errors=3), replace(measurement("nginx"), open=0)), Spread(()))
    assert "round 1, ttft: ours: 3 requests or streams failed" in told
    assert "round 1, ttft: nginx: 1 connections were not served" in told


def test_rates_and_shares_follow_from_what_was_counted() -> None:
    one = measurement("ours")
    assert (one.per_s, one.cpu_us_each, one.cores, one.late_percent) == (50.0, 5000.0, 0.25, 5.0)
    assert replace(one, samples=0, late=0).late_percent == 0.0


def test_the_report_compares_four_backends_with_one_only_where_both_took_part() -> None:
    pair = (measurement("ours", p50_ms=2), measurement("ours-four", p50_ms=3))
    compared = Results(pair, started=(), names=("direct", "ours", "ours-four"))
    assert "### Four backends ÷ one" in render(compared, Spread(()))
    assert "| ttft | 1.5 |" in render(compared, Spread(()))
    assert "Four backends" not in render(results(*pair), Spread(()))


def test_each_way_of_asking_ours_is_compared_with_nginx_of_the_same_round() -> None:
    asked = replace(measurement("ours"), scenario="ollama-64", cpu_s=0.3)
    told = render(results(asked, replace(measurement("nginx"), scenario="streams-64", cpu_s=0.1)), Spread(()))
    assert "| 64 | Ollama's words, translated | - | 1 | 2 | 3,000 | 3 |" in told
    assert "gRPC" not in told


def test_the_report_compares_with_an_earlier_checkout_only_where_one_took_part() -> None:
    pair = (measurement("ours", p50_ms=2), measurement("before", p50_ms=4))
    compared = Results(pair, started=(), names=("direct", "ours", "before"))
    assert "| ttft | 0.5 |" in render(compared, Spread(()))
    assert "÷ before" not in render(results(*pair), Spread(()))
