"""Other clients that are libraries: ``download_peers.py NAME ENDPOINT CA_FILE FOLDER PREFIX…``.

Each as its documentation shows it, with four connections where it can have them; obstore and boto3
take the largest files first. The last line printed is seconds of the work, without imports.
"""

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from download_account import BUCKET, CONNECTIONS, KEYS, REGION

Work = Callable[[], object]
KEYS_BY_NAME = dict(zip(("aws_access_key_id", "aws_secret_access_key"), KEYS, strict=True))


def with_obstore(endpoint: str, _: str, folder: Path, prefixes: Sequence[str]) -> Work:
    """Download with obstore, one file per thread."""
    import obstore  # noqa: PLC0415 - each run loads its own library only
    from obstore.store import S3Store  # noqa: PLC0415 - likewise

    store = S3Store(
        BUCKET,
        endpoint=endpoint,
        access_key_id=KEYS[0],
        secret_access_key=KEYS[1],
        region=REGION,
        client_options={"allow_http": True},
    )

    def fetch(file) -> None:  # noqa: ANN001 - obstore's ObjectMeta
        path = folder / file["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as target:
            for chunk in obstore.get(store, file["path"]).stream(min_chunk_size=1024 * 1024):
                target.write(chunk)

    def work() -> None:
        lists = [obstore.list(store, prefix=prefix.rstrip("/")) for prefix in prefixes]
        files = [file for listing in lists for batch in listing for file in batch]
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            list(pool.map(fetch, sorted(files, key=lambda file: -file["size"])))

    return work


def with_boto3(endpoint: str, ca_file: str, folder: Path, prefixes: Sequence[str]) -> Work:
    """Download with boto3's transfer manager, the largest files first."""
    import boto3  # noqa: PLC0415 - likewise
    from boto3.s3.transfer import TransferConfig, create_transfer_manager  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        verify=ca_file or None,
        config=Config(s3={"addressing_style": "path"}),
        **KEYS_BY_NAME,
    )
    config = TransferConfig(max_concurrency=CONNECTIONS, preferred_transfer_client="classic")

    def work() -> None:
        ask = client.get_paginator("list_objects_v2").paginate
        pages = [page for prefix in prefixes for page in ask(Bucket=BUCKET, Prefix=prefix)]
        files = [found for page in pages for found in page["Contents"]]
        with create_transfer_manager(client, config) as manager:
            for found in sorted(files, key=lambda found: -found["Size"]):
                path = folder / found["Key"]
                path.parent.mkdir(parents=True, exist_ok=True)
                manager.download(BUCKET, found["Key"], str(path))

    return work


def with_eodag(endpoint: str, _: str, folder: Path, prefixes: Sequence[str]) -> Work:
    """Download with eodag, product after product, with its plug-in for CDSE's S3."""
    from eodag import EODataAccessGateway, EOProduct  # noqa: PLC0415 - likewise

    gateway = EODataAccessGateway()
    gateway.add_provider(
        "here",
        endpoint,
        download={"type": "AwsDownload", "s3_endpoint": endpoint, "flatten_top_dirs": False},
        auth={"type": "AwsAuth", "s3_endpoint": endpoint, "credentials": KEYS_BY_NAME},
    )

    def work() -> None:
        for prefix in prefixes:
            properties = {"id": Path(prefix).stem, "title": Path(prefix).stem}
            link = {"eodag:download_link": f"s3://{BUCKET}/{prefix}"}
            with ThreadPoolExecutor(CONNECTIONS) as pool:
                product = EOProduct("here", properties | link, collection="S2_MSI_L2A")
                gateway.download(product, output_dir=str(folder), executor=pool)

    return work


def with_phidown(endpoint: str, _: str, folder: Path, prefixes: Sequence[str]) -> Work:
    """Download with phidown's safe mode, which has one connection."""
    from phidown.native_download import download_s3_resumable  # noqa: PLC0415 - likewise

    scheme, _, host = endpoint.partition("://")
    options = {**KEYS_BY_NAME, "aws_region": REGION, "host_base": host}
    options["use_https"] = str(scheme == "https").lower()
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / ".s5cfg"
    lines = ["[default]", *(f"{name} = {value}" for name, value in options.items())]
    config.write_text("\n".join(lines), encoding="utf-8")

    def work() -> None:
        for prefix in prefixes:
            download_s3_resumable(
                s3_path=f"/{BUCKET}/{prefix}",
                output_dir=str(folder),
                config_file=str(config),
                show_progress=False,
            )

    return work


CLIENTS = {
    "obstore": with_obstore,
    "boto3": with_boto3,
    "eodag": with_eodag,
    "phidown": with_phidown,
}


def main() -> None:
    """Download, and print the seconds."""
    name, endpoint, ca_file, folder, *prefixes = sys.argv[1:]
    work = CLIENTS[name](endpoint, ca_file, Path(folder), prefixes)
    started = time.monotonic()
    work()
    print(time.monotonic() - started)


if __name__ == "__main__":
    main()
