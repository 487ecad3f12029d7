"""The responses in which Ceph's gateway, which CDSE runs, differs from moto."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_SKEW: Final = timedelta(minutes=15)
_RANGE: Final = re.compile(r"bytes=(?:(\d+)-(\d*)|-\d+)")
_REFUSALS: Final = {
    "AccessDenied": "403 Forbidden",
    "InvalidAccessKeyId": "403 Forbidden",
    "RequestTimeTooSkewed": "403 Forbidden",
    "InvalidRange": "416 Requested Range Not Satisfiable",
}
_EMPTY_LIST: Final = (
    '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>eodata</Name>'
    "<Prefix></Prefix><MaxKeys>1000</MaxKeys><KeyCount>0</KeyCount>"
    "<IsTruncated>false</IsTruncated></ListBucketResult>"
)


def like_ceph(app: "WSGIApplication") -> "WSGIApplication":
    """Return *app* that refuses requests as CDSE's store does."""

    def gated(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Refuse a request, or pass it on."""
        if code := _refusal(environ):
            body = f"<Error><Code>{code}</Code></Error>"
            return _answer(_REFUSALS[code], body, start_response)
        try:
            return app(environ, start_response)
        except TypeError:  # moto fails for a continuation token that it did not issue
            return _answer("200 OK", _EMPTY_LIST, start_response)

    return gated


def _refusal(environ: "WSGIEnvironment") -> str:
    """Return the error code of a request that is refused before an object is looked up."""
    if "HTTP_AUTHORIZATION" not in environ:
        is_presigned = "X-Amz-Signature=" in environ.get("QUERY_STRING", "")
        return "InvalidAccessKeyId" if is_presigned else "AccessDenied"
    signed_at = _signed_at(environ.get("HTTP_X_AMZ_DATE", ""))
    if signed_at is not None and abs(datetime.now(UTC) - signed_at) > _SKEW:
        return "RequestTimeTooSkewed"
    return "" if _is_valid_range(environ.get("HTTP_RANGE", "bytes=0-")) else "InvalidRange"


def _signed_at(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def _is_valid_range(header: str) -> bool:
    found = _RANGE.fullmatch(header)
    return found is not None and not (found[2] and int(found[1]) > int(found[2]))


def _answer(status: str, body: str, start_response: "StartResponse") -> Iterable[bytes]:
    content = f'<?xml version="1.0" encoding="UTF-8"?>{body}'.encode()
    headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(content)))]
    start_response(status, headers)
    return [content]
