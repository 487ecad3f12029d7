"""A broken configuration is refused with every fault, each with its place."""

from pathlib import Path

import pytest
from config_builders import ARCHIVE, AREA, area, faults, load

from s2mirror.errors import ConfigError

PROCESS = '[[process]]\nname = "chain"\n'
DURATION = 'a duration with its unit, such as "15 min" or "24 h"'
SECRETS = (
    "secrets do not belong in this file; give them by S2MIRROR_S3_ACCESS_KEY, "
    "S2MIRROR_S3_SECRET_KEY, S2MIRROR_CLIENT_ID, S2MIRROR_CLIENT_SECRET or the files that these "
    "names with _FILE point to"
)

BROKEN = {
    "a misspelt key": (
        ARCHIVE + AREA + "[catalog]\npage_sise = 100",
        "catalog: unknown key 'page_sise'; did you mean 'page_size'?",
    ),
    "a misspelt section": (
        ARCHIVE + AREA + "[downlod]\n",
        "unknown key 'downlod'; did you mean 'download'?",
    ),
    "a key like nothing that we know": (
        ARCHIVE + AREA + "[log]\nzzz = 1",
        "log: unknown key 'zzz'",
    ),
    "a misspelt geometry has one fault, not two": (
        ARCHIVE + area(bbox="", bbxo="[9, 47, 10, 48]"),
        "area[0]: unknown key 'bbxo'; did you mean 'bbox'?",
    ),
    "no archive": (
        AREA,
        (
            "archive.root: required; expected the folder of the archive, such as "
            '"/srv/sentinel-2"; got nothing'
        ),
    ),
    "an archive whose paths FORCE would split": (
        ARCHIVE.replace('"\n', ' and more"\n') + AREA + '[processing]\nforce_queue = "queue.txt"',
        (
            "processing: expected no force_queue, or an archive whose path has only letters, "
            "digits and ./_-:,=@~; FORCE cannot use ' ' in archive and more"
        ),
    ),
    "the whole disk as the archive": (
        '[archive]\nroot = "/"' + AREA,
        'archive.root: expected a folder of its own for the archive; got "/"',
    ),
    "a layout that leaves the archive": (
        ARCHIVE + 'layout = "../{name}.SAFE"' + AREA,
        'archive.layout: expected a layout inside the archive; got "../{name}.SAFE"',
    ),
    "a layout that no product fits": (
        ARCHIVE + 'layout = "{year}"' + AREA,
        (
            'archive.layout: expected cdse, tile, force or a template; got "{year}": must be cdse, '
            "tile, force, or a template ending in {name}.SAFE"
        ),
    ),
    "a number where a duration should be": (
        ARCHIVE + AREA + "[catalog]\ntimeout = 60",
        f"catalog.timeout: expected {DURATION}; got 60",
    ),
    "a duration of nothing": (
        ARCHIVE + AREA + '[catalog]\ninterval = "0 s"',
        'catalog.interval: expected a duration longer than zero; got "0 s"',
    ),
    "a duration that may also be never": (
        ARCHIVE + AREA + '[prune]\nafter = "soon"',
        f'prune.after: expected {DURATION}, or "never"; got "soon"',
    ),
    "a size without a unit": (
        ARCHIVE + 'reserve = "20"' + AREA,
        'archive.reserve: expected a size with its unit, such as "200 GiB" or "64 KiB"; got "20"',
    ),
    "a text where a number should be": (
        ARCHIVE + AREA + '[store]\nconnections = "4"',
        'store.connections: expected a whole number from 1 to 64; got "4"',
    ),
    "too large a page": (
        ARCHIVE + AREA + "[catalog]\npage_size = 5000",
        "catalog.page_size: expected a whole number from 1 to 1000; got 5000",
    ),
    "a low mark without a high one": (
        ARCHIVE + AREA + "[prune]\ndisk_low_percent = 80",
        "prune.disk_low_percent: expected prune.disk_high_percent too; alone, it has no effect",
    ),
    "yes instead of true": (
        ARCHIVE + AREA + '[prune]\nrequire_processed = "yes"',
        'prune.require_processed: expected true or false; got "yes"',
    ),
    "a percentage beyond the whole": (
        ARCHIVE + area(max_cloud_cover_percent="120"),
        "area[0].max_cloud_cover_percent: expected a number from 0 to 100 (percent); got 120",
    ),
    "a word of a choice in capitals": (
        ARCHIVE + AREA + '[log]\nlevel = "INFO"',
        (
            "log.level: expected one of debug, info, warning, error; "
            "got \"INFO\"; did you mean 'info'?"
        ),
    ),
    "plain http to another machine": (
        ARCHIVE + AREA + '[store]\nendpoint = "http://eodata.example.org"',
        (
            "store.endpoint: expected https:// (http:// is for this machine itself only); "
            'got "http://eodata.example.org"'
        ),
    ),
    "an endpoint that is no URL": (
        ARCHIVE + AREA + '[store]\nendpoint = "eodata.example.org"',
        'store.endpoint: expected a URL such as https://example.org/path; got "eodata.example.org"',
    ),
    "an authority's file that is not there": (
        ARCHIVE + AREA + '[network]\nca_file = "/nowhere/ca.pem"',
        'network.ca_file: expected a file that exists; got "/nowhere/ca.pem" (/nowhere/ca.pem)',
    ),
    "a command as one text": (
        ARCHIVE + AREA + PROCESS + 'command = "process {path}"',
        'process[0].command: expected a list, in [ ]; got "process {path}"',
    ),
    "a placeholder that nothing fills": (
        ARCHIVE + AREA + PROCESS + 'command = ["process", "{tile}"]',
        (
            "process[0].command[1]: expected only {path}, {id}, {area} or {name} as placeholders; "
            'got "{tile}"'
        ),
    ),
    "a processing entry without a command": (
        ARCHIVE + AREA + PROCESS,
        (
            "process[0].command: required; expected an argument list, such as "
            '["/usr/local/bin/my-chain", "{path}"]; got nothing'
        ),
    ),
    "an empty command": (
        ARCHIVE + AREA + PROCESS + "command = []",
        "process[0].command: expected at least one; got []",
    ),
    "two processing entries of one name": (
        ARCHIVE + AREA + 2 * (PROCESS + 'command = ["true"]\n'),
        "process: expected a name of its own for each; got two 'chain'",
    ),
    "a need that no entry has": (
        ARCHIVE + AREA + PROCESS + 'command = ["true"]\nneeds = ["cain"]',
        (
            "process: expected needs that name other entries; got 'cain' in 'chain'; did you mean "
            "'chain'?"
        ),
    ),
    "an entry that needs itself": (
        ARCHIVE + AREA + PROCESS + 'command = ["true"]\nneeds = ["chain"]',
        "process: expected needs without a circle; got: chain needs chain",
    ),
    "a processing entry of an unknown area": (
        ARCHIVE + AREA + PROCESS + 'command = ["true"]\nareas = ["lakes"]',
        "process[0].areas: expected the name of an area; got \"lakes\"; did you mean 'lake'?",
    ),
    "a single table of processing": (
        ARCHIVE + AREA + '[process]\ncommand = ["process", "{path}"]',
        (
            "process: expected [[process]] tables; got the single table [process]. Write "
            '[[process]] and name = "my-chain" above command, timeout and max_attempts, and put '
            "marker_suffix into a table [processing]"
        ),
    ),
    "a marker that could be a product": (
        ARCHIVE + AREA + '[processing]\nmarker_suffix = ".SAFE"',
        'processing.marker_suffix: expected a suffix such as ".processed"; got ".SAFE"',
    ),
    "a back-off that shrinks": (
        ARCHIVE + AREA + '[download]\nbackoff = "1 h"\nbackoff_cap = "60 s"',
        "download.backoff_cap: expected at least download.backoff, 1 h; got 1 min",
    ),
    "a secret in the file": (
        ARCHIVE + AREA + '[store]\nsecret_key = "hunter2"',
        f"store: key 'secret_key': {SECRETS}",
    ),
    "a section of secrets": (
        ARCHIVE + AREA + '[secrets]\ns3_secret_key = "hunter2"',
        f"secrets: {SECRETS}",
    ),
    "a password in a URL": (
        ARCHIVE + AREA + '[catalog]\nurl = "https://me:hunter2@example.org/"',
        (
            "catalog.url: expected a URL such as https://example.org/path, without a password; "
            "got one with '@' (not shown)"
        ),
    ),
    "a section that is no table": (
        "log = 3" + ARCHIVE + AREA,
        "log: expected a table of options; got 3",
    ),
    "no area": (
        ARCHIVE,
        "area: expected [[area]] tables, at least one; got none",
    ),
    "single brackets round area": (
        ARCHIVE + AREA.replace("[[area]]", "[area]"),
        "area: expected [[area]] tables, at least one; got a table",
    ),
    "two areas of one name": (
        ARCHIVE + AREA + AREA,
        'area[1].name: expected a name of its own; got "lake", which area[0] has',
    ),
    "a name that is no name": (
        ARCHIVE + area(name='"Lake!"'),
        (
            "area[0].name: expected a name of up to 64 lower-case letters, digits, "
            '"-" and "_", such as "lake-constance"; got "Lake!"'
        ),
    ),
    "an unknown collection": (
        ARCHIVE + area(collections='["sentinel-2-l2b"]'),
        (
            "area[0].collections[0]: expected one of sentinel-2-l1c, sentinel-2-l2a; "
            "got \"sentinel-2-l2b\"; did you mean 'sentinel-2-l2a'?"
        ),
    ),
    "an area without a start": (
        ARCHIVE + area(start=""),
        (
            "area[0].start: required; expected the date of the first wanted image, such as "
            "2026-01-31; got nothing"
        ),
    ),
    "an end before the start": (
        ARCHIVE + area(end="2025-12-31"),
        "area[0].end: expected an end after the start, 2026-01-01; got 2025-12-31",
    ),
    "a time without a zone": (
        ARCHIVE + area(start="2026-01-01T12:00:00"),
        (
            "area[0].start: expected a time with its zone, such as 2026-01-31T12:00:00Z; "
            "got 2026-01-01T12:00:00"
        ),
    ),
    "a time before all years": (
        ARCHIVE + area(start="0001-01-01T00:00:00+02:00"),
        (
            "area[0].start: expected a time between the years 1 and 9999; "
            "got 0001-01-01T00:00:00+02:00"
        ),
    ),
    "a date that is none": (
        ARCHIVE + area(start='"yesterday"'),
        (
            "area[0].start: expected a date such as 2026-01-31, or a time such as "
            '2026-01-31T12:00:00Z; got "yesterday"'
        ),
    ),
    "an unknown satellite": (
        ARCHIVE + area(platforms='["S2A", "landsat-9"]'),
        'area[0].platforms[1]: expected a platform such as "sentinel-2a" or "S2A"; got "landsat-9"',
    ),
    "a baseline as a number": (
        ARCHIVE + area(min_baseline="5.11"),
        'area[0].min_baseline: expected a processing baseline such as "05.00" or "N0500"; got 5.11',
    ),
    "an orbit that Sentinel-2 has not": (
        ARCHIVE + area(relative_orbits="[144]"),
        "area[0].relative_orbits[0]: expected a whole number from 1 to 143; got 144",
    ),
}


@pytest.mark.parametrize(("text", "fault"), BROKEN.values(), ids=BROKEN)
def test_error_names_place_expectation_and_value(tmp_path: Path, text: str, fault: str) -> None:
    assert faults(tmp_path, text) == [f"s2mirror.toml: {fault}"]


def test_all_errors_are_reported_at_once(tmp_path: Path) -> None:
    text = (
        '[archive]\nroot = ""\n[catalog]\npage_size = 0\nurll = "x"\n'
        + area(name='"a"', bbox="[9, 48, 10]", end="2025-01-01", priorty="1")
        + area(name='"a"', bbox="", start="1")
        + area(name='"b"', tiles='["32TMT", "99ZZZ"]', bbox="[1, 2, 3, 4]")
    )
    environment = {"S2MIRROR_CLIENT_ID": "", "S2MIRROR_S3_ACCESS_KEY_FILE": "/nowhere/key"}
    assert faults(tmp_path, text, environment) == [
        's2mirror.toml: archive.root: expected a text that is not empty; got ""',
        "s2mirror.toml: catalog.page_size: expected a whole number from 1 to 1000; got 0",
        "s2mirror.toml: catalog: unknown key 'urll'; did you mean 'url'?",
        (
            "s2mirror.toml: area[0].bbox: expected [west, south, east, north], degrees; "
            "got [9, 48, 10]"
        ),
        "s2mirror.toml: area[0].end: expected an end after the start, 2026-01-01; got 2025-01-01",
        "s2mirror.toml: area[0]: unknown key 'priorty'; did you mean 'priority'?",
        (
            "s2mirror.toml: area[1].start: expected a date such as 2026-01-31, or a time such as "
            "2026-01-31T12:00:00Z; got 1"
        ),
        (
            "s2mirror.toml: area[2].tiles[1]: expected an MGRS tile of the Sentinel-2 grid, "
            'such as "32TMT"; got "99ZZZ"'
        ),
        "s2mirror.toml: area[1]: expected one of bbox, geojson, wkt, tiles; got none",
        's2mirror.toml: area[1].name: expected a name of its own; got "a", which area[0] has',
        "s2mirror.toml: area[2]: expected one of bbox, geojson, wkt, tiles; got bbox and tiles",
        (
            "environment: S2MIRROR_S3_ACCESS_KEY_FILE: expected a file to read; got /nowhere/key: "
            "No such file or directory"
        ),
        "environment: S2MIRROR_CLIENT_ID: expected a secret; got nothing",
    ]


def test_a_configuration_error_ends_with_exit_code_2(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "")
    assert caught.value.exit_code == 2
