r"""A Copernicus Data Space on loopback, for ``s2mirror demo`` and the tests.

Catalog, object store, token endpoint, Process API and feed of deletions on ephemeral ports, each
behind a TLS proxy that can harm requests and records all of them. Code under test sees endpoints
and a CA, nothing else::

    with Sandbox(folder) as sandbox:
        sandbox.publish(make_product(ProductSpec(tile="32TMT")))
        sandbox.stac_url, sandbox.s3_endpoint, sandbox.token_url, sandbox.ca_file
        sandbox.access_key, sandbox.secret_key, sandbox.client_id, sandbox.client_secret

        sandbox.s3_proxy.inject(Fault(path="B02_10m", cut_after_bytes=1000, times=2))
        sandbox.stac_proxy.inject(Fault(method="POST", answer=Answer(status=429)))
        sandbox.s3_proxy.traffic.count(r"\.jp2$"), sandbox.s3_proxy.traffic.max_open_requests
        sandbox.s3_proxy.traffic.wait_until_idle()
        sandbox.s3_proxy.rate_limit.requests = 2000  # per minute, told in headers; then 429
        sandbox.requests  # what the catalog was asked

        sandbox.withdraw(product_id)
        sandbox.replace(changed_product)
        sandbox.clear()  # all of it, faults and records too
        sandbox.store.revoke_key(); sandbox.store.renew_key()
        sandbox.identity.expires_in_seconds = 2; sandbox.identity.revoked = True
        sandbox.process.refuse_next = 3; sandbox.process.units_left = 0.5
        sandbox.catalogue.result_cap = 100
        sandbox.catalogue.restart_on_dead_token = True

Products: ``make_product(ProductSpec(…))`` makes files and item; ``make_item(…)`` an item alone, for
catalogs of many thousands; ``from_real(path)`` serves recorded items and manifests. A product is
a plain value: ``dataclasses.replace(product, files={…})`` makes a broken one.

Needs the extra ``s2mirror[sandbox]``.
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
