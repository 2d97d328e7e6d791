"""What the benchmark of calls tells of chains of callers."""

from bench.calls import Counts, render

CHAINS = [(("a:front",), 100), (("a:front", "b:answer"), 400), (("a:front", "b:answer", "c:read"), 1500)]


def test_each_function_is_told_with_the_calls_behind_it() -> None:
    tree = list(Counts("whole", 100, CHAINS).tree().lines(100))
    assert [line.split() for line in tree] == [["20.0", "a:front"], ["19.0", "b:answer"], ["15.0", "c:read"]]


def test_the_table_has_the_sum_and_the_modules_with_most_calls_first() -> None:
    text = render([Counts("whole", 100, CHAINS)], 2)
    assert "| whole | 20 | 130 |" in text
    assert text.index("| c | 15.0 |") < text.index("| b | 4.0 |")
    assert "| a |" not in text
