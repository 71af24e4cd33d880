"""Ways to damage a file, each drawn from a random generator alone."""

import json
import re
import struct
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

HEAD = 600  # bytes, where headers are
MOST_BYTES = 2**20
NUMBERS = (
    *(0, 1, -1, 2, 3, 4, 7, 8, 16, 32, 127, 128, 255, 256, 1000, 32767, 32768, 60000, 65535),
    *(65536, 10**6, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1),
)
WORDS = (
    *(b"0", b"-1", b"1", b"2", b"255", b"256", b"1e308", b"1e400", b"-1e-320", b"nan", b"inf"),
    *(b"-inf", b"99999999999999999999", b"0x7fffffff", b"1.5", b"0.0000001", b"", b" ", b"\n"),
    *(b"\0", b"\xe4", b"\xff\xfe", b"\xef\xbb\xbf", b"\xf0\x9f\x8f\xa0", b"$", b"%s", b"{}", b"//"),
    *(b'"', b"'", b"<", b">", b"&", b"&lt;", b"]", b"[", b"{", b"}", b"\\", b"\\ud800", b"\\u0000"),
    *(
        b"true",
        b"null",
        b"None",
        b"NaN",
        b"part.tif",
        b"a.vrt",
        b"/",
        b"..",
        b"a" * 5000,
        b"1" * 500,
    ),
    *(b"/vsicurl/http://127.0.0.1:9/a.tif", b"http://127.0.0.1:9/a.tif", b"/dev/zero", b"Float32"),
    *(b"Byte", b"CFloat64", b"Int64", b"UInt32", b"Alpha", b"Palette", b"foot", b"EPSG:4326"),
    *(b"EPSG:3857", b"LOCAL_CS[]", b"PROJCS[", b"subClass", b"VRTWarpedDataset", b"<VRTDataset"),
    *(b"AveragedSource", b"ComplexSource", b"KernelFilteredSource", b"MaskBand", b"OverviewList"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 10**400, 0.5, -0.5, 1e308, 5e-324, float("nan")),
    *(
        float("inf"),
        "",
        "a",
        "0",
        "None",
        "(1,)",
        "(" * 5000,
        "\ud800",
        "\0",
        "a\nb",
        "ä",
        "$",
        [],
        {},
    ),
    *([0], [[0]], {"a": 1}, [1, 2, 3], ["a"], "1" * 5000, [[]] * 3),
)


def damage(data: bytes, name: str, random: Random) -> bytes:
    """Returns the content of a file with one to a few faults in it.

    Args:
        data: the content.
        name: of the file; decides whether it is text.
        random: the only source of chance.
    """
    is_text = name.endswith((".asc", ".vrt", ".xml", ".toml", "json", ".wld", ".prj"))
    kinds = [*TEXT, *TEXT, *BINARY] if is_text else BINARY
    kinds = [*kinds, *[_json_value] * len(kinds)] if name.endswith("json") else kinds
    for _ in range(1 + min(int(random.expovariate(0.7)), 6)):
        data = random.choice(kinds)(data, random)
    if name.endswith(".png") and random.random() < 0.7:
        data = _with_checksums(data)
    return data[:MOST_BYTES]


def _place(data: bytes, random: Random) -> int:
    """Returns a position, more often one in the header."""
    length = max(1, len(data))
    return random.randrange(min(HEAD, length) if random.random() < 0.6 else length)


def _slice(data: bytes, random: Random) -> tuple[int, int]:
    start = _place(data, random)
    return start, start + random.choice((1, 2, 4, 12, 64, 1000))


def _set(data: bytes, place: int, new: bytes) -> bytes:
    return data[:place] + new + data[place + len(new) :]


def _flip_bit(data: bytes, random: Random) -> bytes:
    place = _place(data, random)
    return _set(data, place, bytes([data[place] ^ (1 << random.randrange(8))])) if data else data


def _number(data: bytes, random: Random) -> bytes:
    size, order = random.choice((1, 2, 2, 4, 4, 8)), random.choice(("little", "big"))
    number = random.choice(NUMBERS) % 256**size
    place = _place(data, random)
    place -= place % 2 if random.random() < 0.7 else 0  # fields of TIFF and others are aligned
    return _set(data, place, number.to_bytes(size, order))


def _double(data: bytes, random: Random) -> bytes:
    value = random.choice((0.0, -0.0, 1e308, -1e308, 5e-324, float("nan"), float("inf"), 1e-7, 1e9))
    return _set(data, _place(data, random) & ~1, struct.pack("<d", value))


def _truncate(data: bytes, random: Random) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _remove(data: bytes, random: Random) -> bytes:
    start, end = _slice(data, random)
    return data[:start] + data[end:]


def _repeat(data: bytes, random: Random) -> bytes:
    start, end = _slice(data, random)
    return data[:end] + data[start:end] * random.choice((1, 1, 2, 100)) + data[end:]


def _zero(data: bytes, random: Random) -> bytes:
    start, end = _slice(data, random)
    return _set(data, start, bytes(end - start))


def _noise(data: bytes, random: Random) -> bytes:
    start, end = _slice(data, random)
    return _set(data, start, random.randbytes(end - start))


def _move(data: bytes, random: Random) -> bytes:
    start, end = _slice(data, random)
    return _set(data, _place(data, random), data[start:end])


def _replace(pattern: bytes) -> Callable[[bytes, Random], bytes]:
    """Returns a function that replaces one match of a pattern by one of `WORDS`."""

    def change(data: bytes, random: Random) -> bytes:
        places = [match.span() for match in re.finditer(pattern, data[:20000])]
        if not places:
            return data
        start, end = random.choice(places)
        return data[:start] + random.choice(WORDS) + data[end:]

    return change


def _sign(data: bytes, random: Random) -> bytes:
    """Puts a larger or negative number in the place of one."""
    places = [match.span() for match in re.finditer(rb"\d+", data[:20000])]
    if not places:
        return data
    start, end = random.choice(places)
    return data[:start] + str(random.choice(NUMBERS)).encode() + data[end:]


def _lines(data: bytes, random: Random) -> bytes:
    lines = data.split(b"\n")
    place = random.randrange(len(lines))
    change = random.choice((0, 1, 2, 3))
    if change == 0:
        del lines[place]
    elif change == 1:
        lines.insert(place, random.choice(lines))
    elif change == 2:
        lines[place:place] = [lines[place]] * random.choice((2, 50, 3000))
    else:
        random.shuffle(lines)
    return b"\n".join(lines)


def _insert(data: bytes, random: Random) -> bytes:
    place = _place(data, random)
    return data[:place] + random.choice(WORDS) + data[place:]


def _nest(data: bytes, random: Random) -> bytes:
    place = _place(data, random)
    opening = random.choice((b"<a>", b"[", b"{", b'{"a":', b"(", b'["'))
    return data[:place] + opening * random.choice((3, 900, 1100, 20000)) + data[place:]


def _json_value(data: bytes, random: Random) -> bytes:
    """Replaces one value in a JSON text, at any depth."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return data
    places: list[tuple[Any, Any]] = []

    def visit(node: Any) -> None:
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                visit(node[key])

    if not isinstance(content, dict | list):
        return data
    visit(content)
    if places:
        node, key = random.choice(places)
        if random.random() < 0.2:
            del node[key]
        else:
            node[key] = random.choice(VALUES)
    return json.dumps(content).encode("utf-8", "surrogatepass")


def _with_checksums(data: bytes) -> bytes:
    """Corrects the checksums of a PNG, so that the reader looks at what they protect."""
    place, parts = 8, [data[:8]]
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        body = data[place + 4 : place + 8 + length]
        parts.append(data[place : place + 4] + body + zlib.crc32(body).to_bytes(4, "big"))
        place += 12 + length
    return b"".join(parts) + data[place:]


BINARY = [_flip_bit, _number, _number, _number, _double, _truncate, _remove, _repeat, _zero, _noise]
BINARY += [_move]
TEXT = [_replace(rb"[-+\w.]+"), _replace(rb'"[^"\n]*"'), _sign, _sign, _lines, _insert, _nest]
