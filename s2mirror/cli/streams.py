"""Standard streams whose errors do not end the work: lost output is dropped and recorded."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TextIO, cast

_STANDARD_DESCRIPTORS: Final = 3


class SafeStream:
    """A text stream whose errors are kept in ``error`` instead of being raised.

    A reader that closes its pipe, such as ``head``, a full disk below a redirected output, or a
    log's reader that restarts must not decide whether products are downloaded.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None
        """The first error other than a closed pipe, whose reader wanted no more output."""
        self.closed_by_reader = False

    def write(self, text: str) -> int:
        """Write *text*, or drop it."""
        with self._errors_kept():
            self._stream.write(text)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write *lines*, or drop them."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Flush, as far as possible."""
        with self._errors_kept():
            self._stream.flush()

    def finish(self) -> None:
        """Flush a last time; Python's own flush at exit must not fail where this one did."""
        try:
            self._stream.flush()
        except OSError as error:
            self._keep(error)
            with open(os.devnull, "w", encoding="utf-8") as devnull:  # noqa: PTH123 - no path of ours
                os.dup2(devnull.fileno(), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a stream has
        """Return any other attribute of the stream itself."""
        return getattr(self._stream, name)

    @contextmanager
    def _errors_kept(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._keep(error)

    def _keep(self, error: OSError) -> None:
        self.closed_by_reader = self.closed_by_reader or isinstance(error, BrokenPipeError)
        if self.error is None and not isinstance(error, BrokenPipeError):
            self.error = error


@contextmanager
def safe_streams() -> Iterator[SafeStream]:
    """Make stdout and stderr safe while a command runs; yield stdout."""
    _open_standard_descriptors()
    before = sys.stdout, sys.stderr
    streams = [SafeStream(_escaping(stream)) for stream in before]
    sys.stdout, sys.stderr = (cast("TextIO", stream) for stream in streams)
    try:
        yield streams[0]
    finally:
        for stream in streams:
            stream.finish()
        sys.stdout, sys.stderr = before


def _open_standard_descriptors() -> None:
    """Open those of the three standard descriptors that the caller has closed.

    Otherwise the next opened file, perhaps a product's, would become the process's standard error.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < _STANDARD_DESCRIPTORS:
        pass
    os.close(descriptor)


def _escaping(stream: TextIO | None) -> TextIO:
    """Return *stream*, which now prints the number of each character that its encoding lacks."""
    if stream is None:  # the caller has closed its descriptor
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - open until the end
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
    return stream
