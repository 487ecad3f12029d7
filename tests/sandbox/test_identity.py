import time

import pytest
import requests
from oauthlib.oauth2 import BackendApplicationClient
from requests_oauthlib import OAuth2Session

from s2mirror.sandbox import Sandbox


def ask(sandbox: Sandbox, auth: tuple[str, str] | None = None, **form: str) -> requests.Response:
    verify = str(sandbox.ca_file)
    return requests.post(sandbox.token_url, data=form, auth=auth, verify=verify, timeout=30)


def test_form_and_basic_auth_both_return_token(sandbox: Sandbox) -> None:
    credentials = {"client_id": sandbox.client_id, "client_secret": sandbox.client_secret}
    before = len(sandbox.identity.issued)
    by_form = ask(sandbox, grant_type="client_credentials", **credentials)
    by_basic = ask(
        sandbox, (sandbox.client_id, sandbox.client_secret), grant_type="client_credentials"
    )
    assert (by_form.status_code, by_basic.status_code) == (200, 200)
    assert by_form.json()["expires_in"] == 600
    assert sandbox.identity.is_valid(by_basic.json()["access_token"])
    assert len(sandbox.identity.issued) == before + 2


def test_requests_oauthlib_gets_token_unchanged(sandbox: Sandbox) -> None:
    session = OAuth2Session(client=BackendApplicationClient(client_id=sandbox.client_id))
    token = session.fetch_token(
        sandbox.token_url, client_secret=sandbox.client_secret, verify=str(sandbox.ca_file)
    )
    assert sandbox.identity.is_valid(token["access_token"])


@pytest.mark.long
def test_wrong_credentials_are_refused_as_by_keycloak(
    sandbox: Sandbox,
) -> None:
    grant = "client_credentials"
    wrong = ask(sandbox, (sandbox.client_id, "no"), grant_type=grant)
    unknown = ask(sandbox, ("sh-nobody", "no"), grant_type=grant)
    other = ask(sandbox, grant_type="password")
    assert (wrong.status_code, wrong.json()["error"]) == (401, "unauthorized_client")
    assert (unknown.status_code, unknown.json()["error"]) == (401, "invalid_client")
    assert (other.status_code, other.json()["error"]) == (400, "unsupported_grant_type")


@pytest.mark.long
def test_token_expires_at_announced_time(sandbox: Sandbox) -> None:
    auth = (sandbox.client_id, sandbox.client_secret)
    lasting = ask(sandbox, auth, grant_type="client_credentials").json()
    sandbox.identity.expires_in_seconds = 1
    answer = ask(sandbox, auth, grant_type="client_credentials").json()
    sandbox.identity.expires_in_seconds = 600
    assert (lasting["expires_in"], answer["expires_in"]) == (600, 1)
    time.sleep(1.1)
    assert not sandbox.identity.is_valid(answer["access_token"])
    assert sandbox.identity.is_valid(lasting["access_token"])
