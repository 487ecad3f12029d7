"""The configuration: one TOML file plus secrets, checked as a whole."""

from s2mirror.config.areas import Area
from s2mirror.config.credentials import Secrets
from s2mirror.config.load import Loaded, example_text, load_settings, parse_settings
from s2mirror.config.previews import PreviewSettings, TokenSettings, crs_named, script_named
from s2mirror.config.processing import ProcessEntry
from s2mirror.config.retention import PruneSettings
from s2mirror.config.schema import (
    ArchiveSettings,
    CatalogSettings,
    DownloadSettings,
    EndpointSettings,
    LedgerSettings,
    LogSettings,
    NetworkSettings,
    Settings,
    StoreSettings,
)
from s2mirror.config.units import duration_text, parse_duration, parse_size

__all__ = [
    "ArchiveSettings",
    "Area",
    "CatalogSettings",
    "DownloadSettings",
    "EndpointSettings",
    "LedgerSettings",
    "Loaded",
    "LogSettings",
    "NetworkSettings",
    "PreviewSettings",
    "ProcessEntry",
    "PruneSettings",
    "Secrets",
    "Settings",
    "StoreSettings",
    "TokenSettings",
    "crs_named",
    "duration_text",
    "example_text",
    "load_settings",
    "parse_duration",
    "parse_settings",
    "parse_size",
    "script_named",
]
