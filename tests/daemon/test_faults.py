"""The daemon's health while the store returns errors, and afterwards."""

import pytest
from daemon_kit import Running
from kit import Kit, tiny, wait_until

from s2mirror.sandbox import Answer, Fault

pytestmark = pytest.mark.long

KEY = b"<Error><Code>InvalidAccessKeyId</Code></Error>"
SKEWED = b"<Error><Code>RequestTimeTooSkewed</Code></Error>"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(status=503), "answered 503"),
        (Answer(status=200, body=b"<html>sign in</html>"), "the response is not a listing"),
        (Answer(status=403, body=KEY), "403 InvalidAccessKeyId"),
        (Answer(status=403, body=SKEWED), "this machine's clock is wrong"),
    ],
    ids=["503", "login page", "key", "clock"],
)
def test_refusing_store_makes_health_red(
    daemon: Running, kit: Kit, answer: Answer, said: str
) -> None:
    product = tiny(25)
    kit.sandbox.publish(product)
    kit.sandbox.s3_proxy.inject(Fault(answer=answer, times=None))
    daemon.start()
    daemon.wait_until_unhealthy(said)
    assert kit.entry(product).attempts == 0
    wait_until(lambda: daemon.log("work.paused"), "a log line")
    assert daemon.log("work.paused")[0]["seconds"] == (30 if answer.status != 403 else 300)
    kit.sandbox.s3_proxy.reset()
    daemon.stop()
    daemon.start()
    daemon.wait_until_held(product.id)
    daemon.wait_until_healthy()
    daemon.stop()
    kit.assert_current(product)


def test_one_failing_product_leaves_health_green(daemon: Running, kit: Kit) -> None:
    kit.sections["download"] = "tries_per_file = 1"
    poison, good = tiny(25), tiny(27)
    kit.sandbox.publish([poison, good])
    bad = Fault(path=f"{poison.id}.*B02", answer=Answer(status=500), times=None)
    kit.sandbox.s3_proxy.inject(bad)
    daemon.start()
    wait_until(lambda: kit.states().get(good.id) == "archived", "the good one")
    wait_until(lambda: kit.entry(poison).attempts, "the first attempt")
    daemon.wait_until_healthy()
    daemon.stop()
    assert kit.faults() == []
    kit.sandbox.s3_proxy.traffic.forget()
    kit.cycle()
    assert not [key for key in kit.downloaded() if good.id in key]


def test_daemon_resumes_when_the_store_is_reachable_again(daemon: Running, kit: Kit) -> None:
    product = tiny(25)
    kit.sandbox.publish(product)
    kit.sandbox.s3_proxy.inject(Fault(answer=Answer(status=503), times=None))
    daemon.start()
    daemon.wait_until_unhealthy("503")
    kit.sandbox.s3_proxy.reset()
    daemon.wait_until_held(product.id)
    daemon.wait_until_healthy()
    daemon.stop()
    kit.assert_current(product)
