from datetime import date, timedelta

import pytest

from s2mirror.planning.account import KeyExpiry, key_warnings

LAST = date(2027, 1, 31)


def stage(days_left: int) -> tuple[str, ...]:
    pair = KeyExpiry(number=1, expires_on=LAST)
    return tuple(w.stage for w in key_warnings([pair], today=LAST - timedelta(days=days_left)))


def test_key_valid_for_31_days_causes_no_warning() -> None:
    assert stage(31) == ()


def test_30_7_and_1_days_are_separate_warnings() -> None:
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
def test_warning_names_pair_day_and_remedy(days_left: int, said: str) -> None:
    pair = KeyExpiry(number=2, expires_on=LAST)
    (found,) = key_warnings([pair], today=LAST - timedelta(days=days_left))
    assert found.text == said + (
        "create another at https://eodata-s3keysmanager.dataspace.copernicus.eu, set it as the "
        "second pair, and reload the daemon"
    )
    assert found.expired is (days_left < 0)
