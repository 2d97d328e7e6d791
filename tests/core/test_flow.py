"""What flows goes through all that listen, in the order in which they came, until the next offer."""

from ollama_proxyd.core.events import Event, Flow, Tell


async def test_all_that_listen_hear_each_piece_the_first_of_them_first_and_only_of_this_offer() -> None:
    heard: list[str] = []

    def listener(name: str, inner: Tell) -> Tell:
        def tell(event: Event | bytes) -> bool:
            heard.append(name)
            return inner(event)

        return tell

    async def pour(tell: Tell) -> None:
        assert not tell(b"a piece")

    flow = Flow(pour)
    await (
        flow.through(lambda inner: listener("engine", inner))
        .through(lambda inner: listener("delivery", inner))
        .pour(lambda _: False)
    )
    assert heard == ["engine", "delivery"]
    assert flow.was_poured()
    await flow.pour(lambda _: False)
    assert heard == ["engine", "delivery"]
