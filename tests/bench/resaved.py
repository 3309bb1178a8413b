"""Saves product photos in twelve other ways and counts how often the best colour stays right.

`python -m tests.bench.resaved --data FOLDER`, with a folder in the layout that training takes.
"""

from __future__ import annotations

import csv
import functools
import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
import pillow_heif
from PIL import Image, ImageCms

from core.settings import DecodeSettings
from model.predictor import Predictor
from tests import color_spaces as spaces
from worker.image.color import convert
from worker.image.color.icc import SRGB_CURVE, Parametric, Primaries, gray_profile, rgb_profile
from worker.image.decode import decode
from worker.image.preprocess import preprocess

Pixels = npt.NDArray[np.uint8]
SMALLEST = 150
"""Shortest side, in pixels, of the photos that are taken: smaller ones hardly survive another JPEG."""


@click.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--photos", default=60, show_default=True)
def main(data: Path, photos: int) -> None:
    """Print, for each way of saving, how many photos have the right best colour."""
    pillow_heif.register_heif_opener()
    predictor = Predictor.load(None, device="cpu", caption_budget_ms=0)
    chosen = list(_photos(data, photos))
    click.echo(f"{'saved as':28}{'right':>6}{'same as plain':>15}{'mean difference':>17}")
    plain: list[str] = []
    for name, save in WAYS.items():
        answers, differences = [], []
        for pixels, _ in chosen:
            file = save(pixels)
            answers.append(_best_color(predictor, file))
            differences.append(_difference(file, pixels, is_gray=name.startswith("grey")))
        plain = plain or answers
        right = sum(answer == label for answer, (_, label) in zip(answers, chosen, strict=True))
        same = sum(answer == first for answer, first in zip(answers, plain, strict=True))
        click.echo(f"{name:28}{right:6}{same:15}{np.mean(differences):17.1f}")


def _photos(data: Path, count: int) -> Iterator[tuple[Pixels, str]]:
    """Yields pixels and colour of the first test photos that are large enough."""
    shards = {path.stem[-1]: zipfile.ZipFile(path) for path in sorted(data.glob("images-*.zip"))}
    with (data / "styles.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if (
                row["split"] != "test"
                or row["baseColour"] in ("", "NA")
                or min(int(row["width"]), int(row["height"])) < SMALLEST
            ):
                continue
            content = shards[str(int(row["id"]) % len(shards))].read(f"{row['id']}.jpg")
            yield np.asarray(Image.open(io.BytesIO(content)).convert("RGB")), row["baseColour"]
            count -= 1
            if not count:
                return


def _best_color(predictor: Predictor, file: bytes) -> str:
    [answer] = predictor.predict([preprocess(file, predictor, DecodeSettings()).pixels])
    best: str = answer.to_json()["predictions"]["baseColour"]["alternatives"][0]["value"]
    return best


def _difference(file: bytes, pixels: Pixels, *, is_gray: bool) -> float:
    shown = np.asarray(decode(file, DecodeSettings()).image)
    truth = np.asarray(Image.fromarray(pixels).convert("L").convert("RGB")) if is_gray else pixels
    return float(np.abs(shown.astype(int) - truth).mean())


def _profile(name: str) -> bytes:
    space = spaces.SPACES[name]
    return rgb_profile(Primaries(*space.xy), Parametric(space.gamma) if space.gamma else SRGB_CURVE)


def _png(name: str, bits: int, *chunks: bytes) -> Callable[[Pixels], bytes]:
    return lambda pixels: spaces.png(spaces.encoded(pixels, name), *chunks, bits=bits)


def _jpeg(name: str) -> Callable[[Pixels], bytes]:
    return lambda pixels: spaces.saved(
        spaces.encoded(pixels, name), "JPEG", quality=95, subsampling="4:4:4", icc_profile=_profile(name)
    )


def _gray(pixels: Pixels) -> bytes:
    gray = np.asarray(Image.fromarray(pixels).convert("L"))
    return spaces.png(spaces.linear(gray) ** (1 / 1.8), spaces.iccp(gray_profile(Parametric(1.8))))


def _palette(pixels: Pixels) -> bytes:
    image = Image.fromarray(spaces.eight_bit(spaces.encoded(pixels, "adobe"))).quantize(256)
    stream = io.BytesIO()
    image.save(stream, "PNG", icc_profile=_profile("adobe"))
    return stream.getvalue()


def _cmyk(*, has_profile: bool) -> Callable[[Pixels], bytes]:
    profile = convert._DEFAULT_CMYK.read_bytes()

    def save(pixels: Pixels) -> bytes:
        stream = io.BytesIO()
        options = {"icc_profile": profile} if has_profile else {}
        _separated(pixels).save(stream, "JPEG", quality=95, subsampling="4:4:4", **options)
        return stream.getvalue()

    return save


def _separated(pixels: Pixels) -> Image.Image:
    """Returns inks that print the picture, in the profile that is used for reading: the nearest of a grid, refined."""
    colors, inverse = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
    grid, printed = _grid()
    lengths = np.square(printed).sum(axis=1)
    parts = np.array_split(colors.astype(np.float32), len(colors) // 256 + 1)
    nearest = np.concatenate([(lengths - 2 * part @ printed.T).argmin(axis=1) for part in parts])
    refined = _refined(grid[nearest], colors)
    return Image.fromarray(refined[inverse.ravel()].reshape(*pixels.shape[:2], 4), "CMYK")


def _refined(inks: Pixels, colors: Pixels) -> Pixels:
    """Returns the best inks among small changes of cyan, magenta and yellow, N x 4."""
    steps = np.array([-8, -4, -2, 0, 2, 4, 8])
    changes = np.stack([*np.meshgrid(steps, steps, steps), np.zeros((7, 7, 7), int)], axis=-1).reshape(-1, 4)
    best = []
    for part, wanted in zip(np.array_split(inks, 16), np.array_split(colors, 16), strict=True):
        tried = np.clip(part[:, None].astype(int) + changes, 0, 255).astype(np.uint8)
        distances = np.square(_printed(tried) - wanted[:, None]).sum(axis=2)
        best.append(tried[np.arange(len(part)), distances.argmin(axis=1)])
    return np.concatenate(best)


@functools.cache
def _grid() -> tuple[Pixels, npt.NDArray[np.float32]]:
    steps = np.linspace(0, 255, 16).astype(np.uint8)
    blacks = np.array([0, 60, 120, 180, 255], np.uint8)
    inks = np.stack(np.meshgrid(steps, steps, steps, blacks, indexing="ij"), axis=-1).reshape(1, -1, 4)
    return inks[0], _printed(inks)[0]


def _printed(inks: Pixels) -> npt.NDArray[np.float32]:
    """Returns the colours of inks, height x width x 3."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(convert._DEFAULT_CMYK.read_bytes()))
    transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "CMYK", "RGB")
    return np.asarray(ImageCms.applyTransform(Image.fromarray(inks, "CMYK"), transform), np.float32)


def _avif(name: str, primaries: int, transfer: int) -> Callable[[Pixels], bytes]:
    return lambda pixels: spaces.with_code_points(
        spaces.saved(spaces.encoded(pixels, name), "AVIF", quality=95, subsampling="4:4:4"), primaries, transfer
    )


def _ten_bit_heic(name: str, primaries: int, transfer: int) -> Callable[[Pixels], bytes]:
    def save(pixels: Pixels) -> bytes:
        signal = np.rint(spaces.encoded(pixels, name) * 65535).astype("<u2")
        stream = io.BytesIO()
        pillow_heif.from_bytes("RGB;16", pixels.shape[1::-1], signal.tobytes()).save(stream, quality=95, chroma=444)
        return spaces.with_code_points(stream.getvalue(), primaries, transfer)

    return save


def _with_gain_map(pixels: Pixels) -> bytes:
    """Returns an Ultra HDR JPEG: the picture, followed by a second one that brightens it on HDR screens."""
    stream = io.BytesIO()
    gain = Image.new("L", (pixels.shape[1] // 4, pixels.shape[0] // 4), 128)
    Image.fromarray(pixels).save(stream, "MPO", quality=95, save_all=True, append_images=[gain])
    return stream.getvalue()


WAYS: dict[str, Callable[[Pixels], bytes]] = {
    "plain JPEG": _jpeg("srgb"),
    "Adobe RGB JPEG": _jpeg("adobe"),
    "Display P3 JPEG": _jpeg("p3"),
    "ProPhoto PNG, 16 bits": _png("prophoto", 16, spaces.iccp(_profile("prophoto"))),
    "linear PNG, 16 bits": _png("linear", 16, spaces.iccp(_profile("linear"), b"sRGB linear")),
    "palette PNG, Adobe RGB": _palette,
    "sRGB PNG, 16 bits": _png("srgb", 16),
    "CMYK JPEG with profile": _cmyk(has_profile=True),
    "CMYK JPEG without profile": _cmyk(has_profile=False),
    "PQ HEIC, 10 bits": _ten_bit_heic("pq", 9, 16),
    "P3 AVIF by nclx": _avif("p3", 12, 13),
    "PNG with gAMA 1.4": _png("gamma1.4", 8, spaces.gama(1.4)),
    "Ultra HDR JPEG": _with_gain_map,
    "grey, no profile": lambda pixels: spaces.png(np.asarray(Image.fromarray(pixels).convert("L")) / 255),
    "grey PNG with profile": _gray,
}


if __name__ == "__main__":
    main()
