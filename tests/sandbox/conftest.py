import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import requests

from s2mirror.sandbox import Sandbox

if TYPE_CHECKING:
    from pathlib import Path


class Client:
    """A plain HTTP client of one sandbox's services."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.session = requests.Session()
        self.session.verify = str(sandbox.ca_file)
        self.session.trust_env = False

    def get(self, path: str, **params: object) -> requests.Response:
        return self.session.get(f"{self.sandbox.stac_url}{path}", params=params, timeout=30)

    def search(self, **body: object) -> requests.Response:
        return self.session.post(f"{self.sandbox.stac_url}search", json=body, timeout=30)

    def ids(self, **body: object) -> list[str]:
        answer = self.search(**body)
        assert answer.status_code == 200, answer.text
        return [item["id"] for item in answer.json()["features"]]

    def all_ids(self, **body: object) -> list[str]:
        """Return the IDs of all pages."""
        found: list[str] = []
        while True:
            answer = self.search(**body).json()
            found += [item["id"] for item in answer["features"]]
            following = [link for link in answer["links"] if link["rel"] == "next"]
            if not following:
                return found
            assert following[0]["method"] == "POST"
            body = json.loads(json.dumps(following[0]["body"]))


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    folder: Path = tmp_path_factory.mktemp("sandbox")
    with Sandbox(folder) as running:
        running.stac_proxy.rate_limit.requests = running.odata_proxy.rate_limit.requests = None
        yield running


@pytest.fixture(scope="module")
def client(sandbox: Sandbox) -> Client:
    return Client(sandbox)
