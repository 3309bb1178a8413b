"""Files that a browser shows are read, however untidy; what it cannot show is refused with the true reason."""

from __future__ import annotations

import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from core.errors import ImageUndecodable, UnsupportedMediaType
from core.settings import DecodeSettings
from tests import color_spaces as spaces
from worker.image.decode import decode

LIMITS = DecodeSettings()
TRUTH = spaces.original()
SIGNAL = TRUTH / 255


def shown(data: bytes) -> Image.Image:
    return decode(data, LIMITS).image


def jpeg(**options: object) -> bytes:
    return spaces.saved(SIGNAL, "JPEG", quality=95, subsampling="4:4:4", **options)


def big_jpeg(**options: object) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (400, 300, 3)) / 255
    return spaces.saved(noise, "JPEG", quality=80, **options)


def xmp_orientation(value: int) -> bytes:
    text = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF tiff:Orientation="{value}"></rdf:RDF></x:xmpmeta>'
    return text.encode()


BAD_CRC = 0xDEADBEEF
UNTIDY_PNGS = {
    "checksum_of_text": [spaces.chunk(b"tEXt", b"Comment\0hello", checksum=BAD_CRC)],
    "checksum_of_itxt": [spaces.chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x/>", checksum=BAD_CRC)],
    "checksum_of_time": [spaces.chunk(b"tIME", bytes(7), checksum=BAD_CRC)],
    "checksum_of_gamma": [spaces.chunk(b"gAMA", struct.pack(">I", 100_000), checksum=BAD_CRC)],
    "checksum_of_profile": [spaces.chunk(b"iCCP", b"x\0\0" + zlib.compress(b"y" * 200), checksum=BAD_CRC)],
    "checksum_of_private": [spaces.chunk(b"prVt", b"abc", checksum=BAD_CRC)],
    "megabytes_of_ztxt": [spaces.chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 20_000_000))],
    "megabytes_of_text": [spaces.chunk(b"tEXt", b"Comment\0" + b"a" * 3_000_000)],
    "megabytes_of_itxt": [spaces.chunk(b"iTXt", b"c\0\1\0\0\0" + zlib.compress(b"a" * 20_000_000))],
    "many_texts": [spaces.chunk(b"tEXt", b"Comment\0" + b"a" * 50)] * 5000,
    "broken_ztxt": [spaces.chunk(b"zTXt", b"Comment\0\0not compressed")],
    "text_without_separator": [spaces.chunk(b"tEXt", b"nothing")],
    "broken_physical_size": [spaces.chunk(b"pHYs", b"\1")],
    "broken_transparency_of_time": [spaces.chunk(b"tIME", b"")],
    "broken_background": [spaces.chunk(b"bKGD", b"")],
    "broken_exif": [spaces.chunk(b"eXIf", b"garbage")],
    "broken_gamma": [spaces.chunk(b"gAMA", b"\1")],
    "broken_chromaticities": [spaces.chunk(b"cHRM", b"\1")],
    "broken_code_points": [spaces.chunk(b"cICP", b"\1")],
    "two_profiles": [spaces.iccp(b"nonsense"), spaces.iccp(b"nonsense")],
    "animation_of_no_frames": [spaces.chunk(b"acTL", bytes(8))],
}


@pytest.mark.parametrize("name", UNTIDY_PNGS)
def test_chunks_that_no_pixel_needs_do_no_harm(name):
    assert spaces.difference(shown(spaces.png(SIGNAL, *UNTIDY_PNGS[name])), TRUTH) <= 1


@pytest.mark.parametrize("ending", [b"", b"\0" * 100, b"\r\n", b"<!-- cached -->"])
@pytest.mark.parametrize("cut", [0, 12, 4])
def test_a_png_may_lack_its_end_or_go_on_after_it(ending, cut):
    data = spaces.png(SIGNAL)

    assert spaces.difference(shown(data[: len(data) - cut] + ending), TRUTH) <= 1


def test_a_png_with_a_wrong_checksum_of_its_pixels_is_refused():
    data = spaces.png(SIGNAL)
    at = data.index(b"IDAT") + 40

    with pytest.raises(ImageUndecodable, match="damaged"):
        shown(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])


JPEGS = {"baseline": {}, "progressive": {"progressive": True}, "optimized": {"optimize": True}}


@pytest.mark.parametrize("cut", [1, 2])
@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("target", [None, 64])
def test_a_jpeg_may_lack_its_end_marker(kind, cut, target):
    data = big_jpeg(**JPEGS[kind])
    whole = decode(data, LIMITS, target=target).image

    assert np.array_equal(np.asarray(decode(data[:-cut], LIMITS, target=target).image), np.asarray(whole))


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9, 0.97])
@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("target", [None, 64])
def test_a_truncated_jpeg_is_refused(kind, share, target):
    data = big_jpeg(**JPEGS[kind])

    with pytest.raises(ImageUndecodable, match="damaged or incomplete"):
        decode(data[: int(len(data) * share)], LIMITS, target=target)


JUNK = {
    "blank_lines": b"\r\n\r\n",
    "byte_order_mark": b"\xef\xbb\xbf",
    "spaces": b"  ",
    "php_warning": b"<br />\n<b>Warning</b>: session_start() on line <b>3</b><br />\n",
    "multipart": b'--boundary\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n',
    "zeros": b"\0\0\0\0",
}


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP"])
def test_a_little_before_the_picture_does_no_harm(kind, junk):
    plain = shown(spaces.saved(SIGNAL, kind))

    assert shown(JUNK[junk] + spaces.saved(SIGNAL, kind)).tobytes() == plain.tobytes()


@pytest.mark.parametrize(
    "data",
    [
        b"a" * 5000 + jpeg(),
        b"<html><body>" + b"x" * 300 + jpeg(),
        b"PK\x03\x04" + bytes(26) + jpeg(),
        b"\0\0\x01\0\x01\0" + bytes(16) + spaces.png(SIGNAL),
        b"%PDF-1.4\n" + jpeg(),
    ],
    ids=["long", "page", "zip", "icon", "pdf"],
)
def test_a_picture_inside_something_else_is_not_taken_out(data):
    with pytest.raises(UnsupportedMediaType):
        shown(data)


def test_xmp_turns_no_picture():
    plain = shown(jpeg())
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
        stream = io.BytesIO()
        Image.fromarray(TRUTH).save(stream, kind, xmp=xmp_orientation(6))
        assert shown(stream.getvalue()).size == plain.size, kind


@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_turned_by_its_rotation_and_mirror(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    Image.fromarray(TRUTH).save(stream, "AVIF", exif=exif, quality=95, subsampling="4:4:4")
    turned = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}[orientation]
    truth = Image.fromarray(TRUTH)
    if turned is not None:
        truth = truth.transpose(Image.Transpose(turned))

    assert spaces.difference(shown(stream.getvalue()), np.asarray(truth)) <= 6


def with_property(data: bytes, kind: bytes, content: bytes) -> bytes:
    """Returns an AVIF of one item with one more property, as `clap`."""
    box = struct.pack(">I", 8 + len(content)) + kind + content
    grown = len(box) + 1
    ipma = data.index(b"ipma")
    associations = ipma + 4 + 4 + 4 + 2  # version and flags, count of entries, id of the first item
    count = data[associations]
    ipco = data.index(b"ipco") - 4
    size = struct.unpack_from(">I", data, ipco)[0]
    properties = count_boxes(data[ipco + 8 : ipco + size])
    out = bytearray(data)
    for name in (b"meta", b"iprp"):
        at = data.index(name) - 4
        struct.pack_into(">I", out, at, struct.unpack_from(">I", data, at)[0] + grown)
    struct.pack_into(">I", out, ipco, size + len(box))
    struct.pack_into(">I", out, ipma - 4, struct.unpack_from(">I", data, ipma - 4)[0] + 1)
    out[associations] = count + 1
    end = associations + 1 + count
    out[end:end] = bytes([0x80 | (properties + 1)])
    out[ipco + size : ipco + size] = box
    # iloc: the offset of the first extent, behind version, flags, sizes, count, id, data reference, extent count.
    extent = data.index(b"iloc") + 4 + 4 + 2 + 2 + 2 + 2 + 2
    struct.pack_into(">I", out, extent, struct.unpack_from(">I", data, extent)[0] + grown)
    return bytes(out)


def count_boxes(data: bytes) -> int:
    at = number = 0
    while at < len(data):
        at += struct.unpack_from(">I", data, at)[0]
        number += 1
    return number


@pytest.mark.parametrize(("left", "upper", "width", "height"), [(0, 0, 40, 30), (20, 10, 50, 40)])
def test_avif_is_cropped_to_its_clean_aperture(left, upper, width, height):
    data = spaces.saved(SIGNAL, "AVIF", quality=95, subsampling="4:4:4")
    across, down = 2 * left + width - spaces.WIDTH, 2 * upper + height - spaces.HEIGHT
    clap = struct.pack(">8i", width, 1, height, 1, across, 2, down, 2)
    decoded = decode(with_property(data, b"clap", clap), LIMITS)

    assert (decoded.width, decoded.height) == (width, height)
    assert spaces.difference(decoded.image, TRUTH[upper : upper + height, left : left + width]) <= 6


def gray_tiff(bits: int, photometric: int, order: str) -> tuple[bytes, np.ndarray]:
    """Returns an uncompressed grey TIFF of 12 or 16 bits, and the truth."""
    truth = spaces.original_gray()
    values = np.rint(truth / 255 * (2**bits - 1)).astype(np.uint32)
    if photometric == 0:
        values = 2**bits - 1 - values
    if bits == 16:
        pixels = values.astype(f"{order}u2").tobytes()
    else:
        even, odd = values[:, ::2], values[:, 1::2]
        pixels = np.stack([even >> 4, (even & 15) << 4 | odd >> 8, odd & 255], axis=-1).astype(np.uint8).tobytes()
    entries = [(256, 4, spaces.WIDTH), (257, 4, spaces.HEIGHT), (258, 3, bits), (259, 3, 1), (262, 3, photometric)]
    entries += [(273, 4, 8 + 2 + 12 * 9 + 4), (277, 3, 1), (278, 4, spaces.HEIGHT), (279, 4, len(pixels))]
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    body = struct.pack(f"{order}H", len(entries))
    for tag, kind, value in entries:
        body += struct.pack(f"{order}HHI", tag, kind, 1)
        body += struct.pack(f"{order}I", value) if kind == 4 else struct.pack(f"{order}HH", value, 0)
    return head + body + bytes(4) + pixels, truth


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("bits", [12, 16])
def test_deep_gray_tiffs_are_right(bits, photometric, order):
    data, truth = gray_tiff(bits, photometric, order)

    assert spaces.difference(shown(data), truth) <= 2


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_compressed_deep_gray_tiffs_are_right(compression):
    truth = spaces.original_gray()
    stream = io.BytesIO()
    Image.fromarray(truth.astype(np.uint16) * 257).save(stream, "TIFF", compression=compression)

    assert spaces.difference(shown(stream.getvalue()), truth) <= 2


def small_first_frame(transparency: int | None) -> bytes:
    """Returns a GIF of 40 x 30 whose first frame covers 20 x 10 at (5, 8), in red."""
    frame = io.BytesIO()
    options = {} if transparency is None else {"transparency": transparency}
    image = Image.new("P", (20, 10), 1)
    image.putpalette(bytes([10, 200, 30, 220, 20, 20, 0, 0, 0, 0, 0, 0]))
    image.save(frame, "GIF", **options)
    data = bytearray(frame.getvalue())
    struct.pack_into("<HH", data, 6, 40, 30)
    at = data.index(b"\x2c" + struct.pack("<HHHH", 0, 0, 20, 10))
    struct.pack_into("<HH", data, at + 1, 5, 8)
    return bytes(data)


@pytest.mark.parametrize("transparency", [None, 0])
def test_around_a_small_first_frame_is_nothing(transparency):
    image = shown(small_first_frame(transparency))

    assert image.size == (40, 30)
    assert image.getpixel((10, 12)) == (220, 20, 20)
    assert image.getpixel((2, 2)) == image.getpixel((39, 29)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("product", "is_white"),
    [
        ((250, 250, 248), True),
        ((240, 238, 236), True),
        ((200, 30, 30), False),
        ((255, 236, 160), False),
        ((190, 190, 190), False),
        ((20, 20, 20), False),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF"])
def test_a_white_product_does_not_vanish(kind, product, is_white):
    picture = Image.new("RGBA", (80, 80), (0, 0, 0, 0))
    picture.paste((*product, 255), (20, 20, 60, 60))
    stream = io.BytesIO()
    picture.save(stream, kind, **({"lossless": True} if kind == "WEBP" else {}))
    image = shown(stream.getvalue())

    ground = image.getpixel((5, 5))
    assert (min(ground) > 250) == (not is_white)
    assert max(abs(a - b) for a, b in zip(image.getpixel((40, 40)), product, strict=True)) <= 6


NAMED = {
    "JPEG XL": [b"\xff\x0a" + bytes(50), b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(50)],
    "JPEG 2000": [b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(50), b"\xff\x4f\xff\x51" + bytes(50)],
    "ICO": [b"\0\0\x01\0\x01\0" + bytes(50)],
    "video": [
        b"\0\0\0\x18ftypmp42" + bytes(50),
        b"\0\0\0\x14ftypqt  " + bytes(50),
        b"\x1aE\xdf\xa3" + bytes(50),
        b"RIFF\0\0\0\0AVI LIST",
    ],
    "base64": [
        b"data:image/png;base64,iVBORw0KGgo",
        b"/9j/4AAQSkZJRgABAQ",
        b"iVBORw0KGgoAAAANSUhEUg",
        b'"R0lGODlhAQABAIAAAAAAAP"',
        b"UklGRiQAAABXRUJQ",
    ],
    "web page": [
        b"<div>Not found</div>",
        b"<p>gone",
        b"\n\n<!-- x --><b>",
        b"<?php echo 1;",
        b"<h1>403</h1>",
        b"</body>",
    ],
    "SVG": [b'<svg xmlns="http://www.w3.org/2000/svg"/>', b"<?xml version='1.0'?>\n<svg/>"],
    "text": [b"Access denied\n", "Не найдено".encode(), b"version https://git-lfs.github.com/spec/v1\noid sha256:0"],
    "JSON": [b'{"error": "gone"}', b'[{"a": 1}]'],
    "PDF": [b"%PDF-1.7"],
    "Photoshop": [b"8BPS\0\x01"],
    "zip": [b"PK\x03\x04" + bytes(30)],
    "unknown": [random.Random(1).randbytes(200)],
}


@pytest.mark.parametrize(("name", "data"), [(name, data) for name, files in NAMED.items() for data in files])
def test_what_is_no_picture_is_named(name, data):
    with pytest.raises(UnsupportedMediaType, match=name):
        shown(data)


def patched(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + bytes([value]) + data[at + 1 :]


def tiff_with(tag: int, value: int) -> bytes:
    """Returns a TIFF one of whose tags has another value."""
    data = bytearray(spaces.saved(SIGNAL, "TIFF"))
    start = struct.unpack_from("<I", data, 4)[0]
    for at in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", data, start)[0], 12):
        if struct.unpack_from("<H", data, at)[0] == tag:
            struct.pack_into("<I", data, at + 8, value)
    return bytes(data)


def deep_tiff(dtype: type) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(spaces.original_gray().astype(dtype)).save(stream, "TIFF")
    return stream.getvalue()


SOF = jpeg().index(b"\xff\xc0")
VARIANTS = {
    "lossless": patched(jpeg(), SOF + 1, 0xC3),
    "hierarchical": patched(jpeg(), SOF + 1, 0xC5),
    "JPEG-LS": patched(jpeg(), SOF + 1, 0xF7),
    "12 bits per channel": patched(jpeg(), SOF + 4, 12),
    "LERC": tiff_with(259, 34887),
    "JPEG 2000 compression": tiff_with(259, 34712),
    "raw sensor data": tiff_with(262, 32803),
    "compression 65000": tiff_with(259, 65000),
}


@pytest.mark.parametrize("reason", VARIANTS)
def test_unsupported_variants_are_named(reason):
    with pytest.raises(ImageUndecodable, match=f"not supported.*{reason}"):
        shown(VARIANTS[reason])


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_thirty_two_bits_are_refused_with_their_reason(dtype):
    with pytest.raises(ImageUndecodable, match="32"):
        shown(deep_tiff(dtype))


def test_a_png_inside_a_bmp_is_named():
    bitmap = spaces.saved(SIGNAL, "BMP")

    with pytest.raises(ImageUndecodable, match="embedded PNG"):
        shown(patched(bitmap, 30, 5))
