"""Generated images without a product, to train and test the in_domain head.

The kinds for testing differ from those for training, so that the test measures generalisation. Each kind is a function
of a random generator and a size (width, height).
"""

from __future__ import annotations

import string
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from model.preprocessing import Pixels, fit

Rng = np.random.Generator
Size = tuple[int, int]
Colour = tuple[int, int, int]
Kind = Callable[[Rng, Size], Image.Image]


def colour(rng: Rng, low: int = 0, high: int = 256) -> Colour:
    """A random colour with channels in [low, high)."""
    red, green, blue = rng.integers(low, high, 3).tolist()
    return red, green, blue


def words(rng: Rng, longest: int) -> str:
    """A line of random letters and spaces, up to `longest` characters."""
    letters = rng.choice(list(string.ascii_lowercase), int(rng.integers(4, longest + 1)))
    return "".join(letter if rng.random() > 0.16 else " " for letter in letters).strip().capitalize()


def canvas(rng: Rng, size: Size, low: int = 0, high: int = 256) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """An image filled with one random colour, and its drawing context."""
    image = Image.new("RGB", size, colour(rng, low, high))
    return image, ImageDraw.Draw(image)


def spectrum(rng: Rng, size: Size, slope: float) -> np.ndarray:
    """A random field, height x width, 0..1, whose amplitudes fall with frequency ** slope (0: white noise)."""
    width, height = size
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = 1
    phases = np.exp(2j * np.pi * rng.random(frequency.shape))
    field = np.fft.irfft2(phases * frequency**-slope, (height, width))
    low, high = field.min(), field.max()
    return np.asarray((field - low) / (high - low + 1e-9))


def between(field: np.ndarray, first: Colour, second: Colour) -> Image.Image:
    """A field (0..1) as a blend of two colours; 1 is the first."""
    mixed = field[..., None] * np.array(first) + (1 - field[..., None]) * np.array(second)
    return Image.fromarray(mixed.clip(0, 255).astype(np.uint8), "RGB")


# --- for training ----------------------------------------------------------------------------------------------------


def noise(rng: Rng, size: Size) -> Image.Image:
    """White noise, grey or in colour, sometimes softened."""
    channels = 1 if rng.random() < 0.3 else 3
    dots = rng.integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
    image = Image.fromarray(np.broadcast_to(dots, (size[1], size[0], 3)).copy(), "RGB")
    return image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 4)))) if rng.random() < 0.5 else image


def plain(rng: Rng, size: Size) -> Image.Image:
    """One colour, or a gradient between two."""
    if rng.random() < 0.4:
        return canvas(rng, size)[0]
    across, down = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    share = float(rng.random())
    return between(across * share + down * (1 - share), colour(rng), colour(rng))


def pattern(rng: Rng, size: Size) -> Image.Image:
    """Stripes or checks from edge to edge."""
    across, down = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    step, angle = int(rng.integers(3, 30)), float(rng.uniform(0, np.pi))
    waves = np.sin((across * np.cos(angle) + down * np.sin(angle)) * np.pi / step)
    if rng.random() < 0.5:
        waves = waves * np.sin((across * np.sin(angle) - down * np.cos(angle)) * np.pi / step)
    return between((waves > 0).astype(float), colour(rng), colour(rng))


def document(rng: Rng, size: Size) -> Image.Image:
    """A page of text in one or two columns."""
    image, pen = canvas(rng, size, 225, 256)
    ink, columns = colour(rng, 0, 90), int(rng.integers(1, 3))
    for column in range(columns):
        left, y = 6 + column * size[0] // columns, int(rng.integers(4, 20))
        while y < size[1] - 10:
            if rng.random() < 0.85:
                pen.text((left, y), words(rng, size[0] // columns // 6), fill=ink, font_size=int(rng.integers(7, 12)))
            y += int(rng.integers(8, 14))
    return image


def hills(rng: Rng, size: Size) -> Image.Image:
    """Sky over rows of hills."""
    width, height = size
    image = between(np.linspace(1, 0, height)[:, None].repeat(width, 1), colour(rng, 80), colour(rng, 150))
    pen = ImageDraw.Draw(image)
    for row in range(int(rng.integers(1, 5))):
        level = height * (0.4 + 0.15 * row)
        waves = np.cumsum(rng.normal(0, 1.6, width + 1))
        edge = [(x, float(level + waves[x])) for x in range(width + 1)]
        pen.polygon([*edge, (width, height), (0, height)], fill=colour(rng, 10, 170))
    return image


def chart(rng: Rng, size: Size) -> Image.Image:
    """Axes with bars or lines."""
    image, pen = canvas(rng, size, 230, 256)
    width, height = size
    pen.line([(12, 8), (12, height - 12), (width - 6, height - 12)], fill=(60, 60, 60))
    count = int(rng.integers(3, 12))
    step = (width - 24) / count
    for series in range(int(rng.integers(1, 4))):
        tops = rng.uniform(12, height - 14, count)
        fill = colour(rng, 0, 220)
        if rng.random() < 0.5:
            for bar, top in enumerate(tops):
                left = 14 + bar * step + series * step / 4
                pen.rectangle((left, float(top), left + step / 4, height - 13), fill=fill)
        else:
            pen.line([(14 + bar * step, float(top)) for bar, top in enumerate(tops)], fill=fill, width=2)
    return image


def shapes(rng: Rng, size: Size) -> Image.Image:
    """Many plain shapes on top of one another."""
    image, pen = canvas(rng, size)
    for _ in range(int(rng.integers(4, 40))):
        x, y = rng.uniform(-20, size[0]), rng.uniform(-20, size[1])
        box = (x, y, x + rng.uniform(4, size[0] / 2), y + rng.uniform(4, size[1] / 2))
        draw = (pen.ellipse, pen.rectangle)[int(rng.integers(2))]
        draw(box, fill=colour(rng))
    return image


def code(rng: Rng, size: Size) -> Image.Image:
    """A square code or a bar code."""
    count = int(rng.integers(12, 40))
    cells = rng.integers(0, 2, (count if rng.random() < 0.6 else 1, count)) * 255
    image = Image.new("RGB", size, "white")
    side = int(min(size) * rng.uniform(0.5, 1))
    inner = Image.fromarray(cells.astype(np.uint8)).convert("RGB").resize((side, side), Image.Resampling.NEAREST)
    image.paste(inner, ((size[0] - side) // 2, (size[1] - side) // 2))
    return image


# --- for testing -----------------------------------------------------------------------------------------------------


def clouds(rng: Rng, size: Size) -> Image.Image:
    """Smoke, clouds, marble: a field with the spectrum of natural images."""
    return between(spectrum(rng, size, float(rng.uniform(1, 2))), colour(rng), colour(rng))


def screenshot(rng: Rng, size: Size) -> Image.Image:
    """A desktop with windows, buttons and text."""
    image, pen = canvas(rng, size)
    for _ in range(int(rng.integers(1, 5))):
        left, top = int(rng.integers(0, size[0] // 2)), int(rng.integers(0, size[1] // 2))
        right, bottom = left + int(rng.integers(40, size[0])), top + int(rng.integers(40, size[1]))
        pen.rectangle((left, top, right, bottom), fill=colour(rng, 200), outline=(90, 90, 90))
        pen.rectangle((left, top, right, top + 9), fill=colour(rng, 30, 200))
        for line in range(int(rng.integers(1, 8))):
            pen.text((left + 4, top + 12 + 10 * line), words(rng, 24), fill=colour(rng, 0, 120), font_size=8)
        pen.rounded_rectangle((left + 6, bottom - 16, left + 40, bottom - 6), 3, fill=colour(rng))
    return image


def seaside(rng: Rng, size: Size) -> Image.Image:
    """Sun over water, in random colours."""
    width, height = size
    horizon = int(height * rng.uniform(0.35, 0.7))
    image = between(np.linspace(1, 0, height)[:, None].repeat(width, 1) ** 2, colour(rng, 60), colour(rng, 120))
    pen = ImageDraw.Draw(image)
    x, radius = float(rng.uniform(0, width)), float(rng.uniform(5, 20))
    pen.ellipse((x - radius, horizon - 2 * radius, x + radius, horizon), fill=colour(rng, 200))
    water = np.clip(
        spectrum(rng, (width, height - horizon), 0.8) + rng.normal(0, 0.05, (height - horizon, width)), 0, 1
    )
    image.paste(between(water, colour(rng, 60, 200), colour(rng, 0, 120)), (0, horizon))
    return image


def road_map(rng: Rng, size: Size) -> Image.Image:
    """Streets, parks and a river seen from above."""
    image, pen = canvas(rng, size, 215, 250)
    for _ in range(int(rng.integers(2, 6))):
        x, y = rng.uniform(0, size[0]), rng.uniform(0, size[1])
        corners = [(x + rng.uniform(-40, 40), y + rng.uniform(-40, 40)) for _ in range(5)]
        pen.polygon(corners, fill=(int(rng.integers(150, 210)), int(rng.integers(200, 235)), 170))
    for _ in range(int(rng.integers(5, 18))):
        ends = [(float(rng.uniform(0, size[0])), float(rng.uniform(0, size[1]))) for _ in range(3)]
        pen.line(ends, fill=colour(rng, 180), width=int(rng.integers(1, 7)))
    return image


def mosaic(rng: Rng, size: Size) -> Image.Image:
    """Cells around random points, each of one colour."""
    points = rng.uniform(0, 1, (int(rng.integers(8, 60)), 2)) * np.array(size)
    across, down = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    distance = (across[..., None] - points[:, 0]) ** 2 + (down[..., None] - points[:, 1]) ** 2
    palette = rng.integers(0, 256, (len(points), 3), dtype=np.uint8)
    return Image.fromarray(palette[distance.argmin(axis=2)], "RGB")


def scribble(rng: Rng, size: Size) -> Image.Image:
    """Handwriting on paper, or a child's drawing."""
    image, pen = canvas(rng, size, 200, 256)
    for _ in range(int(rng.integers(2, 12))):
        steps = np.cumsum(rng.normal(0, rng.uniform(2, 10), (int(rng.integers(10, 80)), 2)), axis=0)
        start = rng.uniform(0, 1, 2) * np.array(size)
        pen.line(
            [(float(x), float(y)) for x, y in steps + start], fill=colour(rng, 0, 140), width=int(rng.integers(1, 4))
        )
    return image


def night(rng: Rng, size: Size) -> Image.Image:
    """Points of light in the dark, like stars or street lamps."""
    image, pen = canvas(rng, size, 0, 40)
    for _ in range(int(rng.integers(20, 200))):
        x, y, radius = rng.uniform(0, size[0]), rng.uniform(0, size[1]), rng.exponential(0.8)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour(rng, 120))
    return image


TRAINING_KINDS: dict[str, Kind] = {
    kind.__name__: kind for kind in (noise, plain, pattern, document, hills, chart, shapes, code)
}
TEST_KINDS: dict[str, Kind] = {
    kind.__name__: kind for kind in (clouds, screenshot, seaside, road_map, mosaic, scribble, night)
}


def draw_kind(kind: Kind, count: int, size: tuple[int, int], seed: int) -> Pixels:
    """`count` images of a kind, preprocessed to `size` = (height, width): N x height x width x 3."""
    rng = np.random.default_rng(seed)
    shapes = [(int(rng.integers(90, 260)), int(rng.integers(90, 260))) for _ in range(count)]
    return np.stack([fit(kind(rng, shape), size) for shape in shapes])
