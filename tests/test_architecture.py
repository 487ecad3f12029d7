import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

import s2mirror

PACKAGE: Final = Path(s2mirror.__file__).parent
SOURCES: Final = sorted(PACKAGE.rglob("*.py"))
MAX_FILE_LINES: Final = 300
MAX_FUNCTION_LINES: Final = 50
MAX_PARAMETERS: Final = 6

WORDS: Final = frozenset(
    {
        "catalog_values",
        "clean_text",
        "clock",
        "errors",
        "lifecycle",
        "model",
        "stop",
        "naming",
        "checksum",
    }
    | {"manifest", "radiometry", "safe_metadata"}
    | {"geometry", "projection", "crs", "tiles", "area", "layout", "ports", "times"}
    | {"timetable", "selection", "rate_limit", "host_limiter"}
    | {"product_record", "process_model"}
    | {"preview_model", "json_parser", "bounded_stream", "bounded_http"}
)
# A unit is a module, a package, or one adapter. Its row contains the units that it may import.
MAY_IMPORT: Final[dict[str, frozenset[str]]] = {
    "clean_text": frozenset(),
    "errors": frozenset(),
    "lifecycle": frozenset({"errors"}),
    "clock": frozenset(),
    "stop": frozenset({"errors"}),
    "rate_limit": frozenset(),
    "host_limiter": frozenset(),
    "json_parser": frozenset(),
    "bounded_stream": frozenset(),
    "bounded_http": frozenset({"clean_text", "bounded_stream", "host_limiter"}),
    "naming": frozenset({"errors"}),
    "geometry": frozenset({"errors"}),
    "crs": frozenset(),
    "projection": frozenset({"crs"}),
    "times": frozenset(),
    "selection": frozenset(),
    "area": frozenset({"errors", "selection"}),
    "timetable": frozenset(),
    "catalog_values": frozenset({"clean_text", "errors", "model"}),
    "model": frozenset({"lifecycle", "selection", "radiometry"}),
    "tiles": frozenset({"geometry"}),
    "checksum": frozenset({"errors", "model"}),
    "manifest": frozenset({"errors", "model", "naming", "checksum"}),
    "radiometry": frozenset({"errors"}),
    "safe_metadata": frozenset(
        {"errors", "model", "naming", "checksum", "manifest", "geometry", "times"}
    ),
    "layout": frozenset({"errors", "model", "naming"}),
    "preview_model": frozenset({"model"}),
    "product_record": frozenset({"errors", "naming"}),
    "process_model": frozenset(),
    "ports": frozenset({"model", "stop", "preview_model"}),
    "stac": WORDS - {"ports"},
    "planning": WORDS - {"ports"},
    "config": WORDS - {"ports", "lifecycle"},
    "adapters": frozenset(),
    "adapters.alerts": WORDS,
    "adapters.archive": WORDS | {"stac"},
    "adapters.stac_catalog": WORDS,
    "adapters.odata": WORDS,
    "adapters.force_queue": WORDS,
    "adapters.geoparquet": WORDS | {"stac"},
    "adapters.hook": WORDS,
    "adapters.ledger": WORDS,
    "adapters.lock": WORDS,
    "adapters.notify": WORDS,
    "adapters.objectstore": WORDS,
    "adapters.previews": WORDS,
    "adapters.tokens": WORDS,
    "steps": WORDS
    | {
        "planning",
        "stac",
        "adapters.geoparquet",
        "adapters.archive",
        "adapters.force_queue",
        "adapters.hook",
        "adapters.ledger",
    },
    "sandbox": WORDS,
}
_BELOW_SERVICE: Final = frozenset(MAY_IMPORT) - {"sandbox"}
MAY_IMPORT |= {
    "service": _BELOW_SERVICE,
    "web": WORDS | {"planning", "config", "adapters.archive", "adapters.ledger", "service"},
    "cli": _BELOW_SERVICE | {"service", "sandbox", "web"},
    "api": WORDS | {"config", "stac", "planning", "steps", "adapters.ledger"},
    "__main__": frozenset({"cli"}),
    "__init__": frozenset({"api"}),
}
# Steps exchange data through the ledger. Of the package, these modules are helpers of steps, and
# the pairs below are the only imports of one step by another.
STEP_HELPERS: Final = frozenset(
    {"compare_catalogs", "connections", "file_selection", "listing", "preview_files", "receive"}
    | {"adopted_files", "plan_prune", "check_product", "source_contents", "verified_files"}
)
STEP_IMPORTS: Final = frozenset(
    {
        ("scrub", "repair"),  # a damaged product is repaired at once
        ("export", "local_catalog"),  # the item of a product in the local catalog
    }
)
# Each library is imported in few places, so that it can be replaced there.
HOMES: Final[dict[str, frozenset[str]]] = {
    "pyarrow": frozenset({"adapters.geoparquet"}),
    "pystac": frozenset({"api"}),
    "pystac_client": frozenset({"adapters.stac_catalog"}),
    "requests": frozenset(
        {"adapters.stac_catalog", "adapters.odata", "adapters.previews", "adapters.tokens"}
        | {"bounded_http", "adapters.alerts"}
    ),
    "requests_oauthlib": frozenset({"adapters.tokens"}),
    "oauthlib": frozenset({"adapters.tokens"}),
    "boto3": frozenset({"adapters.objectstore"}),
    "botocore": frozenset({"adapters.objectstore"}),
    "urllib3": frozenset(
        {"adapters.stac_catalog", "adapters.objectstore", "bounded_http", "bounded_stream"}
    ),
    "sqlite_utils": frozenset({"adapters.ledger"}),
    "apprise": frozenset({"adapters.alerts"}),
    "apscheduler": frozenset({"service"}),
    "prometheus_client": frozenset({"service"}),
    "structlog": frozenset({"service"}),
    "typer": frozenset({"cli"}),
    "rich": frozenset({"cli"}),
    "pydantic": frozenset({"config"}),
    "pydantic_core": frozenset({"cli", "web"}),
    "starlette": frozenset({"sandbox", "web"}),
    "uvicorn": frozenset({"sandbox", "web"}),
    "jinja2": frozenset({"web"}),
    "markupsafe": frozenset({"web"}),
    "defusedxml": frozenset(
        {"manifest", "radiometry", "safe_metadata", "adapters.objectstore", "sandbox"}
    ),
    "antimeridian": frozenset({"geometry"}),
    "mgrs": frozenset({"tiles"}),
    "utm": frozenset({"tiles", "projection"}),
    "shapely": frozenset(
        {"geometry", "projection", "crs", "tiles", "area", "stac", "planning", "config", "sandbox"}
        | {"adapters.odata"}
    ),
    "numpy": frozenset({"geometry", "projection", "adapters.previews", "sandbox"}),
    "pyogrio": frozenset({"config"}),
    "pyproj": frozenset({"config"}),
    "rasterio": frozenset({"adapters.previews"}),
}
SANDBOX_ONLY: Final = frozenset(
    {"moto", "trustme", "cql2", "joserfc", "werkzeug", "PIL", "quickjs"}
)
# Clock, disk, jitter and network are arguments of a decision.
FORBIDDEN_IN_PLANNING: Final = frozenset(
    {"os", "time", "random", "pathlib", "socket", "subprocess"}
)


def module_of(source: Path) -> str:
    return ".".join(source.relative_to(PACKAGE).with_suffix("").parts)


def unit_of(module: str) -> str:
    """Return the unit of a module: two names for an adapter, else one."""
    parts = module.removesuffix(".__init__").split(".")
    return ".".join(parts[:2]) if parts[0] == "adapters" else parts[0]


@cache
def nodes_of(source: Path) -> tuple[ast.AST, ...]:
    """Return every node of a file's syntax tree."""
    return tuple(ast.walk(ast.parse(source.read_text(encoding="utf-8"))))


def imports_of(source: Path) -> Iterator[str]:
    """Yield the full name of every module that a file imports, at any depth."""
    for node in nodes_of(source):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source.name} imports relatively"
            module = str(node.module)
            names = [f"{module}.{alias.name}" for alias in node.names]
            yield from (names if module in ("s2mirror", "s2mirror.adapters") else [module])


def units_imported_by(source: Path) -> set[str]:
    ours = [name.removeprefix("s2mirror.") for name in imports_of(source) if "s2mirror." in name]
    ours = [name for name in ours if name != "USER_AGENT"]  # of the package itself
    units = {unit_of(name) for name in ours if not name.startswith("__")}
    return units - {unit_of(module_of(source))}


def libraries_imported_by(source: Path) -> set[str]:
    names = {name.split(".")[0] for name in imports_of(source)}
    return names - set(sys.stdlib_module_names) - {"s2mirror"}


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for source in SOURCES:
        for node in nodes_of(source):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{module_of(source)}.{node.name}", node


@pytest.mark.parametrize("source", SOURCES, ids=module_of)
def test_imports_point_downward_only(source: Path) -> None:
    unit = unit_of(module_of(source))
    assert unit in MAY_IMPORT, f"{unit} is a new unit; add its row to MAY_IMPORT"
    extra = units_imported_by(source) - MAY_IMPORT[unit]
    assert not extra, f"{module_of(source)} must not import {sorted(extra)}"


def test_import_table_is_complete_and_has_no_cycle() -> None:
    units = {unit_of(module_of(source)) for source in SOURCES}
    assert set(MAY_IMPORT) == units
    settled: set[str] = set()
    while ready := {unit for unit in units - settled if MAY_IMPORT[unit] <= settled}:
        settled |= ready
    assert settled == units


def test_no_adapter_imports_another() -> None:
    for unit, allowed in MAY_IMPORT.items():
        if unit.startswith("adapters."):
            assert not any(name.startswith("adapters") for name in allowed)


def test_steps_import_each_other_only_by_the_table() -> None:
    found = {
        (source.stem, name.removeprefix("s2mirror.steps."))
        for source in (PACKAGE / "steps").glob("[!_]*.py")
        for name in imports_of(source)
        if name.startswith("s2mirror.steps.")
    }
    assert {pair for pair in found if pair[1] not in STEP_HELPERS} == STEP_IMPORTS
    assert {helper for _, helper in found} >= STEP_HELPERS
    assert not {pair for pair in STEP_IMPORTS if pair[0] in STEP_HELPERS}


@pytest.mark.parametrize("source", SOURCES, ids=module_of)
def test_libraries_are_imported_in_permitted_units(source: Path) -> None:
    unit = unit_of(module_of(source))
    for library in libraries_imported_by(source):
        allowed = {"sandbox"} if library in SANDBOX_ONLY else HOMES.get(library)
        assert allowed, f"{library} is a new library; add its row to HOMES"
        assert unit in allowed, f"{module_of(source)} must not import {library}"


def test_every_library_in_table_is_imported() -> None:
    used = set().union(*(libraries_imported_by(source) for source in SOURCES))
    assert used == set(HOMES) | SANDBOX_ONLY


def test_planning_imports_no_clock_disk_or_jitter() -> None:
    for source in (PACKAGE / "planning").glob("*.py"):
        outside = {name.split(".")[0] for name in imports_of(source)} & FORBIDDEN_IN_PLANNING
        assert not outside, f"{module_of(source)} must not import {sorted(outside)}"


@pytest.mark.parametrize("source", SOURCES, ids=module_of)
def test_no_file_exceeds_line_limit(source: Path) -> None:
    assert len(source.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES


def test_no_function_exceeds_line_limit() -> None:
    lines = {name: _lines(node) - _lines_of_text(node) for name, node in functions()}
    assert {name: count for name, count in lines.items() if count > MAX_FUNCTION_LINES} == {}


def test_no_function_exceeds_parameter_limit() -> None:
    many = {name for name, node in functions() if len(_parameters(node)) > MAX_PARAMETERS}
    assert many == set()


def _lines(node: ast.AST) -> int:
    return int(node.end_lineno) - int(node.lineno) + 1


def _lines_of_text(node: ast.AST) -> int:
    """Count the lines that continue a string, such as the SQL of a migration."""
    texts = [found for found in ast.walk(node) if isinstance(found, ast.Constant)]
    return sum(_lines(found) - 1 for found in texts if isinstance(found.value, str))


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    found = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return [argument.arg for argument in found if argument.arg not in ("self", "cls")]
