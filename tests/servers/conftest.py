"""Independent servers, one of each for the whole run."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import TypeVar

import pytest
from ceph import CephStore, running_ceph
from installing import CannotInstall
from pgstac import PgStac, running_pgstac
from services import Services, running_feed

MUST_HAVE = "S2MIRROR_REQUIRE_SERVERS"

Server = TypeVar("Server")


@pytest.fixture(scope="session", name="pgstac")
def _pgstac() -> Iterator[PgStac]:
    yield from _lend(running_pgstac)


@pytest.fixture(scope="session", name="ceph")
def _ceph() -> Iterator[CephStore]:
    yield from _lend(running_ceph)


@pytest.fixture(scope="session", name="odata_url")
def _odata_url() -> Iterator[str]:
    with running_feed() as url:
        yield url


@pytest.fixture(name="services")
def _services(pgstac: PgStac, ceph: CephStore, odata_url: str) -> Iterator[Services]:
    services = Services(pgstac, ceph, odata_url)
    services.clear()
    yield services
    services.clear()


def _lend(running: Callable[[], AbstractContextManager[Server]]) -> Iterator[Server]:
    with ExitStack() as stack:
        yield _enter(stack, running())


def _enter(stack: ExitStack, running: AbstractContextManager[Server]) -> Server:
    try:
        return stack.enter_context(running)
    except CannotInstall as error:
        raise _verdict(f"no server to test against: {error}") from None


def _verdict(reason: str) -> BaseException:
    # An installed server that does not start is an error; only a missing one skips tests.
    if os.environ.get(MUST_HAVE) == "1":
        return pytest.fail.Exception(reason, pytrace=False)
    return pytest.skip.Exception(f"{reason} ({MUST_HAVE}=1 makes this a failure)")
