"""The simulated surface: land, water and clouds, deterministic by position and product."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from shapely import contains_xy

from s2mirror.sandbox.stac_catalog import Record

Grid = np.ndarray[Any, np.dtype[np.float64]]

BANDS: Final = (
    *("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"),
)
# Reflectance of each cover in the bands above.
_SPECTRA: Final = {
    "water": (0.06, 0.06, 0.05, 0.03, 0.02, 0.02, 0.02, 0.02, 0.01, 0.01, 0.0, 0.01, 0.01),
    "forest": (0.02, 0.03, 0.05, 0.03, 0.08, 0.22, 0.28, 0.31, 0.33, 0.33, 0.0, 0.16, 0.08),
    "field": (0.05, 0.07, 0.11, 0.13, 0.17, 0.24, 0.27, 0.29, 0.31, 0.32, 0.0, 0.29, 0.21),
    "rock": (0.12, 0.15, 0.19, 0.23, 0.25, 0.26, 0.28, 0.29, 0.30, 0.30, 0.0, 0.34, 0.30),
    "cloud": (0.42, 0.40, 0.39, 0.39, 0.40, 0.41, 0.42, 0.43, 0.43, 0.40, 0.02, 0.30, 0.24),
}
_CLASSES: Final = {"water": 6, "forest": 4, "field": 5, "rock": 5, "cloud": 9}
_ANGLES: Final = {
    "sunAzimuthAngles": 158.0,
    "sunZenithAngles": 28.5,
    "viewAzimuthMean": 105.0,
    "viewZenithMean": 6.5,
}
_CLOUDY_PERCENT: Final = 50


@dataclass(frozen=True, slots=True)
class Scene:
    """The share of each cover at each pixel, and the mask of pixels with data."""

    shares: dict[str, Grid]
    mask: Grid

    def band(self, name: str) -> Grid:
        """Return one band, 0 without data: reflectance, class, degrees or percent."""
        if name in BANDS:
            index = BANDS.index(name)
            values = sum(share * _SPECTRA[cover][index] for cover, share in self.shares.items())
        elif name == "SCL":
            values = _classes(self.shares)
        elif name == "CLD":
            values = 100 * self.shares["cloud"]
        elif name in _ANGLES:
            values = np.full_like(self.mask, _ANGLES[name])
        else:
            values = np.zeros_like(self.mask)
        return np.asarray(np.round(values * self.mask, 4))


def observe(records: Iterable[Record], longitude: Grid, latitude: Grid) -> Scene:
    """Return the scene of *records*, the top one first, at positions in degrees."""
    mask, clouds = np.zeros_like(longitude), np.zeros_like(longitude)
    for record in records:
        fresh = contains_xy(record.geometry, longitude, latitude) & (mask == 0)
        clouds[fresh] = _clouds(record, longitude, latitude)[fresh]
        mask[fresh] = 1
    land = _land(longitude, latitude)
    return Scene(
        {name: share * (1 - clouds) for name, share in land.items()} | {"cloud": clouds}, mask
    )


def _land(longitude: Grid, latitude: Grid) -> dict[str, Grid]:
    height = _waves(longitude, latitude, seed=7, degrees=0.35)
    fields = _waves(longitude, latitude, seed=11, degrees=0.03) > 0
    is_water, is_rock = height < -0.45, height > 0.75  # noqa: PLR2004 - shares of the simulated land
    is_field = ~is_water & ~is_rock & fields & (height < 0.3)  # noqa: PLR2004 - likewise
    covers = {"water": is_water, "rock": is_rock, "field": is_field}
    covers["forest"] = ~(is_water | is_rock | is_field)
    relief = 1 + 0.15 * _waves(longitude, latitude, seed=13, degrees=0.02)
    return {
        name: np.asarray(cover * (1.0 if name == "water" else relief), dtype=np.float64)
        for name, cover in covers.items()
    }


def _clouds(record: Record, longitude: Grid, latitude: Grid) -> Grid:
    """Return the share of cloud in each pixel, on average about the item's cloud cover."""
    # Of the image, so that its levels and versions show the same clouds.
    sensing = "_".join(record.id.split("_")[2:3] + record.id.split("_")[5:6])
    seed = int.from_bytes(hashlib.sha256(sensing.encode()).digest()[:4])
    percent = float(record.item["properties"].get("eo:cloud_cover") or 0)
    waves = _waves(longitude, latitude, seed=seed, degrees=0.15)
    return np.asarray(np.clip(4 * (waves + (percent - _CLOUDY_PERCENT) / 35), 0, 1))


def _waves(longitude: Grid, latitude: Grid, *, seed: int, degrees: float) -> Grid:
    """Return a smooth pattern from about -1 to 1 with features of about *degrees*."""
    jitter = np.random.default_rng(seed)
    sums = np.zeros_like(longitude)
    for angle, phase, stretch in jitter.uniform((0, 0, 0.5), (np.pi, 2 * np.pi, 1.8), (6, 3)):
        along = longitude * np.cos(angle) + latitude * np.sin(angle)
        sums += np.sin(2 * np.pi * along / (degrees * stretch) + phase)
    return np.asarray(sums / 3)


def _classes(shares: dict[str, Grid]) -> Grid:
    names = list(shares)
    largest = np.argmax(np.stack([shares[name] for name in names]), axis=0)
    return np.asarray(np.array([_CLASSES[name] for name in names], dtype=float)[largest])
