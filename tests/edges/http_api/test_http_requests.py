"""GET /requests: what the last requests were like, and nothing of what was said."""

import pytest

from tests.edges.http_api.conftest import Serve

SECRET = "a secret of mine"


async def test_the_last_requests_are_told_the_newest_first_without_a_word_of_them(serve: Serve) -> None:
    site = await serve()
    for model in ("tiny", "tiny", "nothing-like-it"):
        await site.chat({"X-Request-ID": f"id-{model}"}, model=model, messages=[{"role": "user", "content": SECRET}])
    answer = await site.get("/requests")
    assert SECRET.encode() not in answer.body
    failed, *done = answer.json
    assert (failed["backend"], failed["ended"], failed["request_id"]) == (None, "model_not_found", "id-nothing-like-it")
    assert [(each["backend"], each["ended"], each["model"]) for each in done] == [("npu", "ok", "tiny:latest")] * 2
    assert done[0]["energy_joules"] is not None
    assert done[0]["total_seconds"] >= 0


async def test_one_request_is_found_by_its_id(serve: Serve) -> None:
    site = await serve()
    await site.chat({"X-Request-ID": "one"})
    await site.chat({"X-Request-ID": "two"})
    assert [each["request_id"] for each in (await site.get("/requests?id=one")).json] == ["one"]
    assert (await site.get("/requests?id=three")).json == []
    assert [each["request_id"] for each in (await site.get("/requests?limit=1")).json] == ["two"]


@pytest.mark.parametrize("limit", ["0", "101", "-1", "1.5", "x", "", "٣", "9" * 5000])
async def test_a_wrong_limit_is_refused_by_name(serve: Serve, limit: str) -> None:
    answer = await (await serve()).get("/requests", params={"limit": limit})
    assert (answer.status, answer.json["param"]) == (400, "limit")


async def test_another_key_is_refused_by_name(serve: Serve) -> None:
    assert (await (await serve()).get("/requests?ids=1")).json["param"] == "ids"
