"""Random damage: to bytes, to JSON trees, and inside containers whose checksums are made right."""

import gzip
import io
import json
import lzma
import tarfile
import zipfile

_NUMBERS = (0, 1, 2, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**63 - 1)
_VALUES = (
    None, True, -1, 0, 2**70, -(2**63), 1e308, float("nan"), "", "x" * 50, "../../etc/passwd",
    "\0", "\ud800", [], {}, [[]], {"float": "nan"}, {"float": []}, {"step": {}}, "__import__",
)  # fmt: skip


def mutated(rng, data):
    """`data` with one to four random changes."""
    data = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(len(data) + 1))
        size = int(rng.integers(1, 17))
        match rng.integers(8):
            case 0 if data:
                data[at % len(data)] ^= 1 << int(rng.integers(8))
            case 1:
                data[at : at + 1] = rng.bytes(1)
            case 2:
                del data[at:]
            case 3:
                del data[at : at + size]
            case 4:
                data[at:at] = rng.bytes(size)
            case 5:
                data[at:at] = data[at : at + size] * int(rng.integers(1, 9))
            case 6:
                width = int(rng.choice([1, 2, 4, 8]))
                number = _NUMBERS[rng.integers(len(_NUMBERS))] % 2 ** (8 * width)
                order = "little" if rng.integers(2) else "big"
                data[at : at + width] = number.to_bytes(width, order)
            case _:
                data[at : at + 1] = bytes([rng.choice(list(b"0919.,-+eE\"'(){}[]\n \t\xff"))])
    return bytes(data)


def mutated_json(rng, tree):
    """JSON text of `tree` with one value replaced, removed or added; or with damaged bytes."""
    tree = json.loads(json.dumps(tree))
    places = list(_places(tree))
    for _ in range(int(rng.integers(1, 4))):
        parent, key = places[rng.integers(len(places))]
        value = _VALUES[rng.integers(len(_VALUES))]
        match rng.integers(3):
            case 0 if isinstance(parent, dict):
                parent.pop(key, None)
            case 1 if isinstance(parent, dict):
                parent[str(rng.integers(10))] = value
            case _:
                if isinstance(parent, dict) or key < len(parent):
                    parent[key] = value
    text = json.dumps(tree)
    if rng.integers(100) == 0:
        text = "[" * 5000 + text
    return text.encode("utf-8", "surrogatepass")


def _places(tree):
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        yield tree, key
        if isinstance(value, dict | list) and value:
            yield from _places(value)


def zipped(members):
    """A zip archive of `{name: bytes}`, with right checksums."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def tarred(members):
    """A plain tar archive of `{name: bytes}`."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()[:8192]


def xz(data):
    return lzma.compress(data, preset=0)


def gz(data):
    return gzip.compress(data, 1)
