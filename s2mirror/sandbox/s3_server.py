"""Serves the ``eodata`` bucket with moto, in a separate process, controlled over a pipe.

The process is separate because moto changes botocore's handlers when it is imported, and keeps
all objects in memory. The first message of the process contains the port and the key pair. It
responds to every command with the result or the error's text.
"""

import argparse
import hashlib
import json
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any, Final

from moto import settings
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.iam.models import iam_backends
from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
from moto.s3.models import s3_backends
from werkzeug.serving import make_server

from s2mirror.sandbox.s3_gate import like_ceph

BUCKET: Final = "eodata"
_REGION: Final = "us-east-1"
_USER: Final = "mirror"
# Keys of CDSE have permission to read only.
_POLICY: Final = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": "*"}],
    }
)


def main() -> None:
    """Serve until the pipe closes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pipe-fd", type=int, required=True, help="an open duplex pipe")
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0  # check every signature
    pipe = Connection(parser.parse_args().pipe_fd)
    s3_backends[DEFAULT_ACCOUNT_ID]["aws"].create_bucket(BUCKET, _REGION)
    # moto's ThreadedMotoServer searches all its services at every request.
    app = like_ceph(create_backend_app("s3"))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=MotoRequestHandler)
    Thread(target=server.serve_forever, daemon=True).start()
    pipe.send((server.port, *_new_key_pair()))
    _run_commands(pipe)
    os._exit(0)  # moto's worker threads can still have open connections


def _new_key_pair() -> tuple[str, str]:
    iam = iam_backends[DEFAULT_ACCOUNT_ID]["aws"]
    if _USER not in iam.users:
        iam.create_user(_REGION, _USER)
        iam.put_user_policy(_USER, "read-eodata", _POLICY)
    key = iam.create_access_key(_USER)
    return key.access_key_id, key.secret_access_key


def _run_commands(pipe: Connection) -> None:
    while True:
        try:
            name, argument = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(("ok", _COMMANDS[name](argument)))
        except Exception as error:  # noqa: BLE001 - the parent raises it again
            pipe.send(("failed", f"{type(error).__name__}: {error}"))


def _put(objects: dict[str, bytes]) -> None:
    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    for key, content in objects.items():
        backend.put_object(BUCKET, key, content, etag=_etag(content))


def _etag(content: bytes) -> str:
    """Return the ETag of an upload in one part: CDSE uploads even small files as multipart.

    An empty object has no parts and a plain ETag.
    """
    if not content:
        return hashlib.md5(b"", usedforsecurity=False).hexdigest()
    part = hashlib.md5(content, usedforsecurity=False).digest()
    return f"{hashlib.md5(part, usedforsecurity=False).hexdigest()}-1"


def _delete(keys: list[str]) -> None:
    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    for key in keys:
        backend.delete_object(BUCKET, key)


def _get(key: str) -> bytes | None:
    found = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].get_object(BUCKET, key)
    return bytes(found.value) if found else None


def _keys(prefix: str) -> list[str]:
    bucket = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].get_bucket(BUCKET)
    return sorted(key for key in bucket.keys if key.startswith(prefix))


def _revoke(access_key: str) -> None:
    iam_backends[DEFAULT_ACCOUNT_ID]["aws"].delete_access_key(access_key, _USER)


def _renew(_: None) -> tuple[str, str]:
    return _new_key_pair()


_COMMANDS: Final[dict[str, Callable[[Any], Any]]] = {
    "put": _put,
    "delete": _delete,
    "get": _get,
    "keys": _keys,
    "revoke": _revoke,
    "renew": _renew,
}


if __name__ == "__main__":
    main()
