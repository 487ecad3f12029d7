import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import builders
import pytest

from s2mirror.model import Product

SENSED_AT = datetime(2026, 5, 27, 10, 20, 31, tzinfo=UTC)
NAME = "S2C_MSIL2A_20260527T102031_N0512_R065_T32TMT_20260527T154217"


def product(product_id: str = NAME, **changes: Any) -> Product:  # noqa: ANN401 - Product's fields
    prefix = f"Sentinel-2/MSI/L2A/2026/05/27/{product_id}.SAFE/"
    return builders.product(product_id, **{"sensed_at": SENSED_AT, "s3_prefix": prefix, **changes})


def data_object(
    href: str = "./MTD_MSIL2A.xml",
    size: object = 7,
    name: str = "MD5",
    digest: str = "0123456789abcdefABCDEF0123456789",
) -> str:
    return (
        f'<dataObject ID="a"><byteStream mimeType="text/xml" size="{size}">'
        f'<fileLocation locatorType="URL" href="{href}"/>'
        f'<checksum checksumName="{name}">{digest}</checksum></byteStream></dataObject>'
    )


def manifest(*objects: str, head: str = '<?xml version="1.0" encoding="UTF-8"?>') -> bytes:
    body = "".join(objects or [data_object()])
    return (
        f'{head}<xfdu:XFDU xmlns:xfdu="urn:ccsds:schema:xfdu:1">'
        f"<metadataSection/><dataObjectSection>{body}</dataObjectSection></xfdu:XFDU>"
    ).encode()


def sample(name: str) -> Path:
    """Return a recorded file of CDSE; skip the test if this machine has none."""
    folder = os.environ.get("S2MIRROR_SAMPLES")
    if not folder:
        pytest.skip("needs real CDSE samples: name their folder in S2MIRROR_SAMPLES")
    return Path(folder, name)
