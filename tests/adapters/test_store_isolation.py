"""The store client reads no setting of other programs: neither AWS variables nor AWS files."""

from pathlib import Path
from typing import Final

import pytest
from adapters_builders import fresh_store
from botocore.loaders import Loader

from s2mirror.errors import StoreUnreachable
from s2mirror.sandbox import Sandbox

PREFIX: Final = "Sentinel-2/MSI/L2A/2026/05/27/X.SAFE/"
SSO: Final = """
[default]
sso_session = work
sso_account_id = 1
sso_role_name = reader
region = no region!
services = other
[sso-session work]
sso_start_url = https://nowhere.invalid
sso_region = us-east-1
[services other]
s3 =
  endpoint_url = http://127.0.0.1:9
"""
FILES: Final = {
    "broken": "[default\nregion = \x00 [",
    "binary": "\x00\x01\x02",
    "sso": SSO,
    "unknown source": "[default]\nrole_arn = a\nsource_profile = nobody\nmax_attempts = many\n",
    "odd S3 section": "[default]\ns3 = nonsense\nparameter_validation = false\n",
}
VARIABLES: Final = {
    "AWS_PROFILE": "nobody",
    "AWS_DEFAULT_PROFILE": "nobody",
    "AWS_CONFIG_FILE": "/dev/full",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/full",
    "AWS_CA_BUNDLE": "/nonexistent/ca.pem",
    "REQUESTS_CA_BUNDLE": "/nonexistent/ca.pem",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ENDPOINT_URL_S3": "nonsense",
    "AWS_REGION": "no region!",
    "AWS_DEFAULT_REGION": "no region!",
    "AWS_REQUEST_CHECKSUM_CALCULATION": "nonsense",
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "nonsense",
    "AWS_DEFAULTS_MODE": "nonsense",
    "AWS_RETRY_MODE": "nonsense",
    "AWS_MAX_ATTEMPTS": "many",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_USE_DUALSTACK_ENDPOINT": "true",
    "AWS_ACCOUNT_ID_ENDPOINT_MODE": "nonsense",
    "AWS_AUTH_SCHEME_PREFERENCE": "nonsense",
    "AWS_SIGV4A_SIGNING_REGION_SET": "nonsense",
    "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT": "nonsense",
    "AWS_S3_USE_ARN_REGION": "nonsense",
    "AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES": "many",
    "AWS_SDK_UA_APP_ID": "odd\tname" * 50,
    "AWS_CSM_ENABLED": "true",
    "AWS_CSM_PORT": "no port",
    "AWS_ACCESS_KEY_ID": "other",
    "AWS_SECRET_ACCESS_KEY": "other",
    "AWS_SESSION_TOKEN": "other",
    "AWS_CREDENTIAL_EXPIRATION": "nonsense",
    "AWS_BEARER_TOKEN_S3": "other",
    "AWS_EXECUTION_ENV": "odd\tname",
    "BOTOCORE_EXPERIMENTAL__PLUGINS": "other=json",
}


def assert_works(sandbox: Sandbox) -> None:
    """List and read one object with a client that is made now."""
    sandbox.store.put({f"{PREFIX}MTD.xml": b"content"})
    store = fresh_store(sandbox)
    (file,) = store.list_product(PREFIX).files
    assert b"".join(map(bytes, store.read(file))) == b"content"


@pytest.mark.long
@pytest.mark.parametrize("name", VARIABLES)
def test_variable_of_others_changes_no_request(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, VARIABLES[name])
    assert_works(sandbox)


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("variable", ["HOME", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"])
def test_aws_file_of_others_changes_no_request(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, kind: str
) -> None:
    file = tmp_path / ".aws/config"
    file.parent.mkdir()
    for name in ("config", "credentials"):
        file.with_name(name).write_text(FILES[kind])
    monkeypatch.setenv(variable, str(tmp_path if variable == "HOME" else file))
    assert_works(sandbox)


@pytest.mark.parametrize("variable", ["HOME", "AWS_DATA_PATH"])
def test_service_model_of_others_is_not_loaded(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    models = tmp_path / ".aws/models"
    model = models / "s3/2099-01-01/service-2.json"
    model.parent.mkdir(parents=True)
    model.write_text("nonsense")
    (models / "endpoints.json").write_text("nonsense")
    if (
        variable == "HOME"
    ):  # botocore reads HOME when it is imported, so this is what it makes of it
        monkeypatch.setattr(Loader, "CUSTOMER_DATA_PATH", str(models))
    else:
        monkeypatch.setenv(variable, str(models))
    assert_works(sandbox)


@pytest.mark.parametrize("name", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_only_network_ca_file_adds_a_trusted_ca(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, str(sandbox.ca_file))
    with pytest.raises(StoreUnreachable, match="does not trust its certificate"):
        fresh_store(sandbox, ca_file=None).probe()
