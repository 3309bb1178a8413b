"""A small generated data set in the layouts of the real ones, for `--smoke` and the tests.

Coloured shapes stand for garments; no photographs are used.
"""

from __future__ import annotations

import csv
import random
import zipfile
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw

COLOURS = {"Red": (200, 30, 40), "Navy Blue": (25, 35, 95), "Green": (40, 140, 60), "Black": (25, 25, 25)}
TYPES = {
    "Shirts": ("Topwear", "Apparel", "Men", "Casual"),
    "Skirts": ("Bottomwear", "Apparel", "Women", "Casual"),
    "Caps": ("Headwear", "Accessories", "Men", "Sports"),
    "Formal Shoes": ("Shoes", "Footwear", "Men", "Formal"),
}
PHOTO_LABELS = {"Shirts": "Shirt", "Skirts": "Skirt", "Caps": "Hat", "Formal Shoes": "Shoes"}
SEASONS = ("Summer", "Winter")
SPLITS = ("train", "train", "train", "train", "val", "test")
COLUMNS: tuple[str, ...] = (
    "id",
    "split",
    "group",
    "gender",
    "masterCategory",
    "subCategory",
    "articleType",
    "baseColour",
)
COLUMNS += ("season", "year", "usage", "productDisplayName", "brandName", "width", "height")


def draw(article_type: str, colour: str, size: tuple[int, int], seed: int, background: str = "white") -> Image.Image:
    """An image of `size` = (width, height) with the shape of an article type; the seed varies its position."""
    rng = random.Random(seed)
    image = Image.new("RGB", size, background)
    pen, fill = ImageDraw.Draw(image), COLOURS[colour]
    width, height = size
    left, top = width * rng.uniform(0.10, 0.2), height * rng.uniform(0.10, 0.2)
    right, bottom = width * rng.uniform(0.8, 0.9), height * rng.uniform(0.8, 0.9)
    if article_type == "Shirts":
        pen.rectangle((left + width * 0.15, top, right - width * 0.15, bottom), fill)
        pen.rectangle((left, top, right, top + height * 0.2), fill)
    elif article_type == "Skirts":
        pen.polygon([(width * 0.42, top), (width * 0.58, top), (right, bottom), (left, bottom)], fill)
    elif article_type == "Caps":
        pen.pieslice((left, top + height * 0.2, right, bottom), 180, 360, fill)
    else:
        pen.ellipse((left, height * 0.62, right, height * 0.85), fill)
        pen.rectangle((left, height * 0.45, left + width * 0.25, height * 0.75), fill)
    return image


def write_catalogue(folder: Path, rows: int = 240, seed: int = 0) -> Path:
    """Write `styles.csv` and `images-0.zip` … in the catalogue layout; every fifth image is larger than 60x80.

    One in three rows has no season.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    archives = [zipfile.ZipFile(folder / f"images-{shard}.zip", "w") for shard in range(2)]
    with (folder / "styles.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for number in range(rows):
            article_type, colour = rng.choice(list(TYPES)), rng.choice(list(COLOURS))
            sub, master, gender, usage = TYPES[article_type]
            size = (60, 80) if number % 5 else (180, 240)
            season = rng.choice([*SEASONS, "NA"])
            name = f"{gender} {colour} {article_type}, drawn"
            split = SPLITS[number % len(SPLITS)]
            row = [number, split, number, gender, master, sub, article_type, colour, season, 2012, usage, name, ""]
            table.writerow([*row, *size])
            archives[number % 2].writestr(f"{number}.jpg", jpeg(draw(article_type, colour, size, number)))
    for archive in archives:
        archive.close()
    return folder


def write_photos(folder: Path, rows: int = 60, seed: int = 1) -> Path:
    """Write `photos.csv` and `images.zip` in the layout of customer photos, with coloured backgrounds."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    with (
        zipfile.ZipFile(folder / "images.zip", "w") as archive,
        (folder / "photos.csv").open("w", encoding="utf-8", newline="") as file,
    ):
        table = csv.writer(file)
        table.writerow(["image", "split", "sender", "label", "kids"])
        for number in range(rows):
            article_type, colour = rng.choice(list(TYPES)), rng.choice(list(COLOURS))
            split = SPLITS[number % len(SPLITS)]
            table.writerow([f"photo-{number}", split, number, PHOTO_LABELS[article_type], number % 7 == 0])
            picture = draw(article_type, colour, (192, 256), number, rng.choice(["beige", "tan", "lightgrey"]))
            archive.writestr(f"photo-{number}.jpg", jpeg(picture))
    return folder


def jpeg(image: Image.Image) -> bytes:
    """The image as a JPEG file."""
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
