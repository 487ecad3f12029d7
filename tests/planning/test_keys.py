from datetime import date, timedelta

import pytest

from s2mirror.planning.keys import KeyExpiry, key_warnings

LAST = date(2027, 1, 31)


def stage(days_left: int) -> tuple[str, ...]:
    pair = KeyExpiry(number=1, expires_on=LAST)
    return tuple(w.stage for w in key_warnings([pair], today=LAST - timedelta(days=days_left)))


def test_nothing_is_said_of_a_key_that_lasts_longer_than_30_days() -> None:
    assert stage(31) == ()


def test_each_of_30_7_and_1_days_before_the_last_is_a_warning_of_its_own() -> None:
    assert stage(30) == stage(8) == ("2027-01-31 30",)
    assert stage(7) == stage(2) == ("2027-01-31 7",)
    assert stage(1) == stage(0) == ("2027-01-31 1",)
    assert stage(-1) == stage(-100) == ("2027-01-31 over",)


@pytest.mark.parametrize(
    ("days_left", "said"),
    [
        (12, "S3 key pair 2 expires in 12 days: its last day is 2027-01-31; "),
        (1, "S3 key pair 2 expires tomorrow: its last day is 2027-01-31; "),
        (0, "S3 key pair 2 expires today: its last day is 2027-01-31; "),
        (-1, "S3 key pair 2 has expired: its last day was 2027-01-31; "),
    ],
)
def test_a_warning_names_the_pair_its_last_day_and_what_to_do(days_left: int, said: str) -> None:
    pair = KeyExpiry(number=2, expires_on=LAST)
    (found,) = key_warnings([pair], today=LAST - timedelta(days=days_left))
    assert found.text == said + (
        "make another at https://eodata-s3keysmanager.dataspace.copernicus.eu, give it to the "
        "mirror as the second pair, and reload it"
    )
    assert found.expired is (days_left < 0)
