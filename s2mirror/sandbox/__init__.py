r"""A Copernicus Data Space on loopback, for ``s2mirror demo`` and the tests.

Catalog, object store, token endpoint, Process API and feed of deletions on ephemeral ports, each
behind a TLS proxy that injects faults and records every request. The code under test receives
endpoints and a CA file only::

    with Sandbox(folder) as sandbox:
        sandbox.publish(make_product(ProductSpec(tile="32TMT")))
        sandbox.stac_url, sandbox.s3_endpoint, sandbox.token_url, sandbox.ca_file
        sandbox.access_key, sandbox.secret_key, sandbox.client_id, sandbox.client_secret

        sandbox.s3_proxy.inject(Fault(path="B02_10m", cut_after_bytes=1000, times=2))
        sandbox.stac_proxy.inject(Fault(method="POST", answer=Answer(status=429)))
        sandbox.s3_proxy.traffic.count(r"\.jp2$"), sandbox.s3_proxy.traffic.max_open_requests
        sandbox.s3_proxy.traffic.wait_until_idle()
        sandbox.s3_proxy.rate_limit.requests = 2000  # per minute, sent in headers; then 429
        sandbox.stac_proxy.rate_limit.requests = None  # instead of 5 per second; likewise odata
        sandbox.requests  # every request to the STAC catalog

        sandbox.withdraw(product_id)
        sandbox.replace(changed_product)
        sandbox.clear()  # removes products, faults and records
        sandbox.store.revoke_key(); sandbox.store.renew_key()
        sandbox.identity.expires_in_seconds = 2; sandbox.identity.revoked = True
        sandbox.process.refuse_next = 3; sandbox.process.units_left = 0.5
        sandbox.catalogue.result_cap = 100
        sandbox.catalogue.restart_on_dead_token = True
        sandbox.catalogue.backend = "opensearch"  # its paging tokens and links

``make_product(ProductSpec(…))`` generates a product with files and STAC item, ``make_item(…)`` a
product with an item only, for catalogs of many thousands, and ``from_real(path)`` a product for
each recorded item or manifest. A product is a plain value: ``dataclasses.replace(product,
files={…})`` makes a damaged one.

The sandbox needs the extra ``s2mirror[sandbox]``.
"""

from s2mirror.sandbox.faults import Answer, Exchange, Fault
from s2mirror.sandbox.products import SandboxProduct, make_item, make_product
from s2mirror.sandbox.real import RealMaterial, from_real
from s2mirror.sandbox.sandbox import Sandbox
from s2mirror.sandbox.spec import NORTH_HALF, SOUTH_HALF, WHOLE_TILE, ProductSpec

__all__ = [
    "NORTH_HALF",
    "SOUTH_HALF",
    "WHOLE_TILE",
    "Answer",
    "Exchange",
    "Fault",
    "ProductSpec",
    "RealMaterial",
    "Sandbox",
    "SandboxProduct",
    "from_real",
    "make_item",
    "make_product",
]
