import threading
import time

import pytest

from s2mirror.errors import Stopped
from s2mirror.stop import StopFlag


def test_a_set_flag_stops_every_loop_that_asks() -> None:
    flag = StopFlag()
    flag.raise_if_set()
    flag.set()
    with pytest.raises(Stopped) as caught:
        flag.raise_if_set()
    assert str(caught.value) == ("stopped on request; what was downloaded so far is kept")


def test_wait_ends_when_the_flag_is_set() -> None:
    flag = StopFlag()
    timer = threading.Timer(0.05, flag.set)
    began = time.monotonic()
    timer.start()
    assert flag.wait(600)
    assert time.monotonic() - began < 300


def test_wait_lasts_without_a_stop() -> None:
    assert not StopFlag().wait(0.01)


def test_a_child_stops_with_its_parent() -> None:
    parent = StopFlag()
    with parent.child() as child, child.child() as grandchild:
        assert not grandchild.is_set()
        parent.set()
        assert child.is_set()
        assert grandchild.is_set()


def test_a_child_can_be_stopped_alone() -> None:
    parent = StopFlag()
    with parent.child() as one, parent.child() as other:
        one.set()
        assert not other.is_set()
    assert not parent.is_set()


def test_child_of_stopped_flag_is_stopped() -> None:
    parent = StopFlag()
    parent.set()
    with parent.child() as child:
        assert child.is_set()


def test_a_returned_child_hears_no_more() -> None:
    parent = StopFlag()
    with parent.child() as child:
        pass
    parent.set()
    assert not child.is_set()
