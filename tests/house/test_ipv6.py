"""Two machines that have no IPv4 between them find each other, pair, and answer, in spite of a bad radio."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

import pytest

from tests.house.conftest import House, Radio, paired
from tests.house.test_two_machines import targeted, words_of

NETWORKS = {"a network of its own": "fd77::", "its link alone": ""}


@pytest.fixture(scope="module", params=NETWORKS)
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with paired(tmp_path_factory.mktemp("v6"), Radio(0.02, 0.02), NETWORKS[request.param]) as house:
        yield house


def test_they_know_each_other_by_addresses_of_ipv6(house: House) -> None:
    for machine in (house.laptop, house.desktop):
        (peer,) = machine.house()["peers"]
        host, _, port = peer["address"].removeprefix("[").partition("]:")
        address = ip_address(host)
        assert (address.version, port) == (6, "11484")
        assert address.is_link_local is (not house.desktop.address.startswith("fd77"))
        assert (peer["is_connected"], peer["reason"]) == (True, None)


def test_twenty_at_once_come_whole(house: House) -> None:
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: targeted(house.laptop, "desktop/nvidia"), range(20)))
    assert [status for status, _, _ in answers] == [200] * 20
    assert all(words_of(body)[1] for _, body, _ in answers)
