"""Customer photos: the rows of `photos.csv`, and the taxonomy values that fit each coarse label."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.taxonomy import Taxonomy

KIDS_GENDERS = ("Boys", "Girls")
GENDER = "gender"
LABELS = Path(__file__).parent / "photo_labels.json"
ANNOTATIONS = Path(__file__).parent / "photo_annotations.csv"


@dataclass(frozen=True)
class Photo:
    """One row of `photos.csv`; `label` is a coarse article type, `is_kids` whether the garment is for children."""

    image: str
    split: str
    sender: str
    label: str
    is_kids: bool


def read_photos(folder: Path) -> list[Photo]:
    """All rows of `photos.csv`, in file order."""
    with (folder / "photos.csv").open(encoding="utf-8", newline="") as file:
        return [
            Photo(record["image"], record["split"], record["sender"], record["label"], record["kids"] == "True")
            for record in csv.DictReader(file)
        ]


def fitting_types(file: Path | None = None) -> dict[str, tuple[str, ...]]:
    """Coarse labels to the article types that fit them; by default for the client's taxonomy."""
    text = (file or LABELS).read_text(encoding="utf-8")
    return {label: tuple(types) for label, types in json.loads(text).items()}


def type_masks(photos: Sequence[Photo], taxonomy: Taxonomy, labels: Path | None = None) -> npt.NDArray[np.bool_]:
    """Which values of the tree's deepest level fit each photo's label, N x values.

    A label that the `labels` file lacks allows every value. Raises ValueError if the taxonomy has no tree.
    """
    if taxonomy.leaf is None:
        raise ValueError("photos with coarse labels need a taxonomy with a tree")
    types, fits = taxonomy.attributes[taxonomy.leaf], fitting_types(labels)
    allowed = [[value in fits.get(photo.label, types) for value in types] for photo in photos]
    return np.array(allowed, dtype=bool).reshape(len(photos), len(types))


def gender_masks(photos: Sequence[Photo], taxonomy: Taxonomy) -> npt.NDArray[np.bool_]:
    """Which genders fit each photo, N x genders: Boys and Girls for a child's garment, the others for an adult's.

    If only children's photos excluded values, the network would learn that photos show children's garments. N x 0 if
    the taxonomy has no gender. A taxonomy whose genders are all a child's, or none, tells nothing apart.
    """
    genders = taxonomy.attributes.get(GENDER, ())
    is_childs = [value in KIDS_GENDERS for value in genders]
    tells_apart = any(is_childs) and not all(is_childs)
    allowed = [[not tells_apart or photo.is_kids == childs for childs in is_childs] for photo in photos]
    return np.array(allowed, dtype=bool).reshape(len(photos), len(genders))


def read_annotations(file: Path, photos: Sequence[Photo], taxonomy: Taxonomy) -> dict[str, npt.NDArray[np.bool_]]:
    """Labels given by looking at the photos: per attribute, the values that fit each photo, N x values.

    The columns are `image` and attributes; a cell holds the values that fit, separated by `|`. A row without any value
    is unlabelled. Attributes that the taxonomy lacks are left out.
    """
    with file.open(encoding="utf-8", newline="") as opened:
        rows = {row["image"]: row for row in csv.DictReader(opened)}
    columns = next(iter(rows.values()), {}).keys() & taxonomy.attributes.keys()
    return {
        name: np.array(
            [
                [value in (rows.get(photo.image, {}).get(name) or "").split("|") for value in taxonomy.attributes[name]]
                for photo in photos
            ],
            dtype=bool,
        ).reshape(len(photos), len(taxonomy.attributes[name]))
        for name in sorted(columns)
    }
