"""Two paired machines with a bad radio between them: late frames are in the price, lost ones cost no answer."""

import json
from concurrent.futures import ThreadPoolExecutor

from tests.house.conftest import House
from tests.house.test_two_machines import targeted, words_of

AT_ONCE = 20


def test_the_time_under_way_is_measured_and_in_the_price(far_house: House) -> None:
    (peer,) = far_house.laptop.house()["peers"]
    assert peer["rtt_ms"] >= 80
    status, body = far_house.laptop.ask("POST", "/routing/explain", {"model": "demo:latest"})
    terms = {each["backend_id"]: each["terms"] for each in json.loads(body)["ranked"]}
    assert status == 200
    assert terms["desktop/npu"]["network_seconds"] > terms["npu"].get("network_seconds", 0.0)


def test_twenty_at_once_come_whole_through_lost_frames(far_house: House) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = list(threads.map(lambda _: targeted(far_house.laptop, "desktop/nvidia"), range(AT_ONCE)))
    assert [status for status, _, _ in answers] == [200] * AT_ONCE
    assert all(words_of(body)[1] for _, body, _ in answers)


def test_lost_frames_end_no_pairing(far_house: House) -> None:
    (peer,) = far_house.laptop.house()["peers"]
    assert (peer["is_connected"], peer["reason"]) == (True, None)
