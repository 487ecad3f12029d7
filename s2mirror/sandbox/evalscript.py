"""Runs evalscripts in a JavaScript engine."""

import json
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import quickjs

from s2mirror.errors import UsageError
from s2mirror.sandbox.scene import Grid

_SECONDS: Final = 60
_BYTES: Final = 1_000_000_000
_RUN: Final = """
function __run(text) {
  var bands = JSON.parse(text), names = Object.keys(bands), out = [];
  for (var at = 0; at < bands[names[0]].length; at++) {
    var sample = {};
    for (var k = 0; k < names.length; k++) sample[names[k]] = bands[names[k]][at];
    var got = evaluatePixel(sample);
    out.push(got.default !== undefined ? got.default : got);
  }
  return JSON.stringify(out);
}
"""


class ScriptError(UsageError):
    """The evalscript failed; the message is that of the engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The result of an evalscript's function ``setup``."""

    inputs: tuple[str, ...]
    in_numbers: bool
    """True for digital numbers (``units: "DN"``), False for reflectances."""
    outputs: int
    """Number of output bands."""
    sample_type: str


class Evalscript:
    """One script; only the thread that created it may run it."""

    def __init__(self, text: str) -> None:
        self._engine = quickjs.Context()
        self._engine.set_time_limit(_SECONDS)
        self._engine.set_memory_limit(_BYTES)
        if not text.lstrip().startswith("//VERSION=3"):
            raise ScriptError("the evalscript does not begin with //VERSION=3")
        self._eval(text)
        self._eval(_RUN)
        self.setup = _setup_of(json.loads(self._eval("JSON.stringify(setup())")))

    def render(self, bands: dict[str, Grid]) -> Grid:
        """Return the script's output for each pixel: rows, columns, bands."""
        shape = next(iter(bands.values())).shape
        self._engine.set("__bands", json.dumps({k: v.ravel().tolist() for k, v in bands.items()}))
        output = json.loads(self._eval("__run(__bands)"))
        try:
            pixels = np.array(output, dtype=float).reshape(*shape, self.setup.outputs)
        except ValueError as error:
            raise ScriptError(
                f"evaluatePixel does not return {self.setup.outputs} numbers, which setup declares"
            ) from error
        return pixels

    def _eval(self, text: str) -> Any:  # noqa: ANN401 - any value that the script returns
        try:
            return self._engine.eval(text)
        except quickjs.JSException as error:
            raise ScriptError(str(error).strip()) from error


def _setup_of(returned: Any) -> Setup:  # noqa: ANN401 - parsed JSON
    try:
        first = returned["input"][0]
        source = first if isinstance(first, dict) else {"bands": returned["input"]}
        output = (
            returned["output"][0] if isinstance(returned["output"], list) else returned["output"]
        )
        return Setup(
            inputs=tuple(source["bands"]),
            in_numbers="DN" in (source.get("units") or ()),
            outputs=int(output["bands"]),
            sample_type=str(output.get("sampleType", "AUTO")),
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ScriptError(f"setup() does not return input and output: {error!r}") from error
