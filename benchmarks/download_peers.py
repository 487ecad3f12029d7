"""Other clients that are libraries: ``download_peers.py obstore|boto3 ENDPOINT CA SCOPE FOLDER``.

Each as its documentation shows it, with four connections; obstore takes the largest files first.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from download_data import BUCKET, CONNECTIONS, KEYS

REGION = "us-east-1"


def with_obstore(endpoint: str, scope: str, folder: Path) -> None:
    """Download with obstore, one file per thread."""
    import obstore  # noqa: PLC0415 - each run pays for its own library alone
    from obstore.store import S3Store  # noqa: PLC0415 - likewise

    store = S3Store(
        BUCKET,
        endpoint=endpoint,
        access_key_id=KEYS[0],
        secret_access_key=KEYS[1],
        region=REGION,
        client_options={"allow_http": True},
    )
    files = [file for batch in obstore.list(store, prefix=scope.rstrip("/")) for file in batch]

    def fetch(file) -> None:  # noqa: ANN001 - obstore's ObjectMeta
        path = folder / file["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as target:
            for chunk in obstore.get(store, file["path"]).stream(min_chunk_size=1024 * 1024):
                target.write(chunk)

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(fetch, sorted(files, key=lambda file: -file["size"])))


def with_boto3(endpoint: str, scope: str, folder: Path, ca_file: str) -> None:
    """Download with boto3's transfer manager, the largest files first."""
    import boto3  # noqa: PLC0415 - likewise
    from boto3.s3.transfer import TransferConfig, create_transfer_manager  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=KEYS[0],
        aws_secret_access_key=KEYS[1],
        verify=ca_file or None,
        config=Config(s3={"addressing_style": "path"}),
    )
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=scope)
    files = [found for page in pages for found in page["Contents"]]
    config = TransferConfig(max_concurrency=CONNECTIONS, preferred_transfer_client="classic")
    with create_transfer_manager(client, config) as manager:
        for found in sorted(files, key=lambda found: -found["Size"]):
            path = folder / found["Key"]
            path.parent.mkdir(parents=True, exist_ok=True)
            manager.download(BUCKET, found["Key"], str(path))


if __name__ == "__main__":
    NAME, ENDPOINT, CA_FILE, SCOPE, FOLDER = sys.argv[1:]
    if NAME == "obstore":
        with_obstore(ENDPOINT, SCOPE, Path(FOLDER))
    else:
        with_boto3(ENDPOINT, SCOPE, Path(FOLDER), CA_FILE)
