"""Pictures that show no product, drawn by code: what the in_domain head learns to refuse, and what it is tested on.

The kinds it is tested on are none of those it learnt from, so the figure says how it does on what it never saw.
Each kind is a function of a random generator and a size (width, height), and never draws the same picture twice.
"""

from __future__ import annotations

import string
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from model.preprocessing import Pixels, fit

Dice = np.random.Generator
Size = tuple[int, int]
Colour = tuple[int, int, int]
Kind = Callable[[Dice, Size], Image.Image]


def colour(dice: Dice, low: int = 0, high: int = 256) -> Colour:
    red, green, blue = dice.integers(low, high, 3).tolist()
    return red, green, blue


def words(dice: Dice, longest: int) -> str:
    """A line of made-up words."""
    letters = dice.choice(list(string.ascii_lowercase), int(dice.integers(4, longest + 1)))
    return "".join(letter if dice.random() > 0.16 else " " for letter in letters).strip().capitalize()


def canvas(dice: Dice, size: Size, low: int = 0, high: int = 256) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", size, colour(dice, low, high))
    return image, ImageDraw.Draw(image)


def spectrum(dice: Dice, size: Size, slope: float) -> np.ndarray:
    """Random 0..1 field, height x width, whose amplitudes fall with frequency ** slope (0: white noise)."""
    width, height = size
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = 1
    phases = np.exp(2j * np.pi * dice.random(frequency.shape))
    field = np.fft.irfft2(phases * frequency**-slope, (height, width))
    low, high = field.min(), field.max()
    return np.asarray((field - low) / (high - low + 1e-9))


def between(field: np.ndarray, first: Colour, second: Colour) -> Image.Image:
    """A 0..1 field as a blend of two colours."""
    mixed = field[..., None] * np.array(first) + (1 - field[..., None]) * np.array(second)
    return Image.fromarray(mixed.clip(0, 255).astype(np.uint8), "RGB")


# --- learnt from -----------------------------------------------------------------------------------------------------


def noise(dice: Dice, size: Size) -> Image.Image:
    """White noise, grey or in colour, sometimes softened."""
    channels = 1 if dice.random() < 0.3 else 3
    dots = dice.integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
    image = Image.fromarray(np.broadcast_to(dots, (size[1], size[0], 3)).copy(), "RGB")
    return image.filter(ImageFilter.GaussianBlur(float(dice.uniform(0.5, 4)))) if dice.random() < 0.5 else image


def plain(dice: Dice, size: Size) -> Image.Image:
    """One colour, or a gradient between two."""
    if dice.random() < 0.4:
        return canvas(dice, size)[0]
    across, down = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    share = float(dice.random())
    return between(across * share + down * (1 - share), colour(dice), colour(dice))


def pattern(dice: Dice, size: Size) -> Image.Image:
    """Stripes or checks from edge to edge."""
    across, down = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    step, angle = int(dice.integers(3, 30)), float(dice.uniform(0, np.pi))
    waves = np.sin((across * np.cos(angle) + down * np.sin(angle)) * np.pi / step)
    if dice.random() < 0.5:
        waves = waves * np.sin((across * np.sin(angle) - down * np.cos(angle)) * np.pi / step)
    return between((waves > 0).astype(float), colour(dice), colour(dice))


def document(dice: Dice, size: Size) -> Image.Image:
    """A page of text: headings, paragraphs, now and then in two columns."""
    image, pen = canvas(dice, size, 225, 256)
    ink, columns = colour(dice, 0, 90), int(dice.integers(1, 3))
    for column in range(columns):
        left, y = 6 + column * size[0] // columns, int(dice.integers(4, 20))
        while y < size[1] - 10:
            if dice.random() < 0.85:
                pen.text((left, y), words(dice, size[0] // columns // 6), fill=ink, font_size=int(dice.integers(7, 12)))
            y += int(dice.integers(8, 14))
    return image


def hills(dice: Dice, size: Size) -> Image.Image:
    """Sky over rows of hills."""
    width, height = size
    image = between(np.linspace(1, 0, height)[:, None].repeat(width, 1), colour(dice, 80), colour(dice, 150))
    pen = ImageDraw.Draw(image)
    for row in range(int(dice.integers(1, 5))):
        level = height * (0.4 + 0.15 * row)
        waves = np.cumsum(dice.normal(0, 1.6, width + 1))
        edge = [(x, float(level + waves[x])) for x in range(width + 1)]
        pen.polygon([*edge, (width, height), (0, height)], fill=colour(dice, 10, 170))
    return image


def chart(dice: Dice, size: Size) -> Image.Image:
    """Axes with bars or lines."""
    image, pen = canvas(dice, size, 230, 256)
    width, height = size
    pen.line([(12, 8), (12, height - 12), (width - 6, height - 12)], fill=(60, 60, 60))
    count = int(dice.integers(3, 12))
    step = (width - 24) / count
    for series in range(int(dice.integers(1, 4))):
        tops = dice.uniform(12, height - 14, count)
        fill = colour(dice, 0, 220)
        if dice.random() < 0.5:
            for bar, top in enumerate(tops):
                left = 14 + bar * step + series * step / 4
                pen.rectangle((left, float(top), left + step / 4, height - 13), fill=fill)
        else:
            pen.line([(14 + bar * step, float(top)) for bar, top in enumerate(tops)], fill=fill, width=2)
    return image


def shapes(dice: Dice, size: Size) -> Image.Image:
    """Many plain shapes on top of one another."""
    image, pen = canvas(dice, size)
    for _ in range(int(dice.integers(4, 40))):
        x, y = dice.uniform(-20, size[0]), dice.uniform(-20, size[1])
        box = (x, y, x + dice.uniform(4, size[0] / 2), y + dice.uniform(4, size[1] / 2))
        draw = (pen.ellipse, pen.rectangle)[int(dice.integers(2))]
        draw(box, fill=colour(dice))
    return image


def code(dice: Dice, size: Size) -> Image.Image:
    """A square code or a bar code."""
    count = int(dice.integers(12, 40))
    cells = dice.integers(0, 2, (count if dice.random() < 0.6 else 1, count)) * 255
    image = Image.new("RGB", size, "white")
    side = int(min(size) * dice.uniform(0.5, 1))
    inner = Image.fromarray(cells.astype(np.uint8)).convert("RGB").resize((side, side), Image.Resampling.NEAREST)
    image.paste(inner, ((size[0] - side) // 2, (size[1] - side) // 2))
    return image


# --- tested on -------------------------------------------------------------------------------------------------------


def clouds(dice: Dice, size: Size) -> Image.Image:
    """Smoke, clouds, marble: a field with a natural picture's spectrum."""
    return between(spectrum(dice, size, float(dice.uniform(1, 2))), colour(dice), colour(dice))


def screenshot(dice: Dice, size: Size) -> Image.Image:
    """A desktop with windows, buttons and text."""
    image, pen = canvas(dice, size)
    for _ in range(int(dice.integers(1, 5))):
        left, top = int(dice.integers(0, size[0] // 2)), int(dice.integers(0, size[1] // 2))
        right, bottom = left + int(dice.integers(40, size[0])), top + int(dice.integers(40, size[1]))
        pen.rectangle((left, top, right, bottom), fill=colour(dice, 200), outline=(90, 90, 90))
        pen.rectangle((left, top, right, top + 9), fill=colour(dice, 30, 200))
        for line in range(int(dice.integers(1, 8))):
            pen.text((left + 4, top + 12 + 10 * line), words(dice, 24), fill=colour(dice, 0, 120), font_size=8)
        pen.rounded_rectangle((left + 6, bottom - 16, left + 40, bottom - 6), 3, fill=colour(dice))
    return image


def seaside(dice: Dice, size: Size) -> Image.Image:
    """Sun over water, at any hour."""
    width, height = size
    horizon = int(height * dice.uniform(0.35, 0.7))
    image = between(np.linspace(1, 0, height)[:, None].repeat(width, 1) ** 2, colour(dice, 60), colour(dice, 120))
    pen = ImageDraw.Draw(image)
    x, radius = float(dice.uniform(0, width)), float(dice.uniform(5, 20))
    pen.ellipse((x - radius, horizon - 2 * radius, x + radius, horizon), fill=colour(dice, 200))
    water = np.clip(
        spectrum(dice, (width, height - horizon), 0.8) + dice.normal(0, 0.05, (height - horizon, width)), 0, 1
    )
    image.paste(between(water, colour(dice, 60, 200), colour(dice, 0, 120)), (0, horizon))
    return image


def road_map(dice: Dice, size: Size) -> Image.Image:
    """Streets, parks and a river seen from above."""
    image, pen = canvas(dice, size, 215, 250)
    for _ in range(int(dice.integers(2, 6))):
        x, y = dice.uniform(0, size[0]), dice.uniform(0, size[1])
        corners = [(x + dice.uniform(-40, 40), y + dice.uniform(-40, 40)) for _ in range(5)]
        pen.polygon(corners, fill=(int(dice.integers(150, 210)), int(dice.integers(200, 235)), 170))
    for _ in range(int(dice.integers(5, 18))):
        ends = [(float(dice.uniform(0, size[0])), float(dice.uniform(0, size[1]))) for _ in range(3)]
        pen.line(ends, fill=colour(dice, 180), width=int(dice.integers(1, 7)))
    return image


def mosaic(dice: Dice, size: Size) -> Image.Image:
    """Cells around random points, each of one colour."""
    points = dice.uniform(0, 1, (int(dice.integers(8, 60)), 2)) * np.array(size)
    across, down = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    distance = (across[..., None] - points[:, 0]) ** 2 + (down[..., None] - points[:, 1]) ** 2
    palette = dice.integers(0, 256, (len(points), 3), dtype=np.uint8)
    return Image.fromarray(palette[distance.argmin(axis=2)], "RGB")


def scribble(dice: Dice, size: Size) -> Image.Image:
    """Handwriting on paper, or a child's drawing."""
    image, pen = canvas(dice, size, 200, 256)
    for _ in range(int(dice.integers(2, 12))):
        steps = np.cumsum(dice.normal(0, dice.uniform(2, 10), (int(dice.integers(10, 80)), 2)), axis=0)
        start = dice.uniform(0, 1, 2) * np.array(size)
        pen.line(
            [(float(x), float(y)) for x, y in steps + start], fill=colour(dice, 0, 140), width=int(dice.integers(1, 4))
        )
    return image


def night(dice: Dice, size: Size) -> Image.Image:
    """Stars, or a town's lights, in the dark."""
    image, pen = canvas(dice, size, 0, 40)
    for _ in range(int(dice.integers(20, 200))):
        x, y, radius = dice.uniform(0, size[0]), dice.uniform(0, size[1]), dice.exponential(0.8)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour(dice, 120))
    return image


LEARNT: dict[str, Kind] = {
    kind.__name__: kind for kind in (noise, plain, pattern, document, hills, chart, shapes, code)
}
TESTED: dict[str, Kind] = {
    kind.__name__: kind for kind in (clouds, screenshot, seaside, road_map, mosaic, scribble, night)
}


def draw_kind(kind: Kind, count: int, size: tuple[int, int], seed: int) -> Pixels:
    """`count` pictures of a kind at the network's `size` (height, width), N x height x width x 3."""
    dice = np.random.default_rng(seed)
    shapes = [(int(dice.integers(90, 260)), int(dice.integers(90, 260))) for _ in range(count)]
    return np.stack([fit(kind(dice, shape), size) for shape in shapes])
