"""What kind of file some bytes begin: for what is read, what is replaced, and what is refused with a word on what it is."""

SIGNATURES: dict[
    str, tuple[int, tuple[bytes, ...]]
] = {  # kind -> where its signature stands, and those that it may have
    "jpeg": (0, (b"\xff\xd8\xff",)),
    "png": (0, (b"\x89PNG\r\n\x1a\n",)),
    "webp": (8, (b"WEBP",)),
    "heif": (4, tuple(b"ftyp" + brand for brand in (b"hei", b"hev", b"mif1", b"msf1"))),
    "avif": (4, (b"ftypavif", b"ftypavis")),
    "tiff": (0, (b"II*\0", b"MM\0*")),
    "gif": (0, (b"GIF8",)),
    "bmp": (0, (b"BM",)),
    "jpeg2000": (4, (b"jP  ",)),
    "jpegxl": (0, (b"\xff\x0a", b"\0\0\0\x0cJXL ")),
    "photoshop": (0, (b"8BPS",)),
    "mp4": (4, (b"ftyp",)),  # behind the images that begin so
    "avi": (0, (b"RIFF",)),
    "matroska": (0, (b"\x1a\x45\xdf\xa3",)),
    "hdf5": (0, (b"\x89HDF\r\n\x1a\n",)),
    "pdf": (0, (b"%PDF",)),
    "rtf": (0, (b"{\\rtf",)),
    "office": (0, (b"\xd0\xcf\x11\xe0",)),  # before 2007
    "split zip": (0, (b"PK\x07\x08",)),
    "zip": (0, (b"PK",)),
    "gzip": (0, (b"\x1f\x8b",)),
    "bzip2": (0, (b"BZh",)),
    "xz": (0, (b"\xfd7zXZ", b"]\0\0")),
    "rar": (0, (b"Rar!",)),
    "7z": (0, (b"7z\xbc\xaf\x27\x1c",)),
    "zstandard": (0, (b"\x28\xb5\x2f\xfd",)),
    "compress": (0, (b"\x1f\x9d",)),
    "lz4": (0, (b"\x04\x22\x4d\x18",)),
    "git lfs": (0, (b"version https://git-lfs",)),
    "appledouble": (0, (b"\0\5\x16\7",)),
}
_WEB_PAGE = (b"<!doctype html", b"<html")


def begins(start: bytes, kind: str) -> bool:
    """Whether these bytes begin a file of this kind."""
    place, marks = SIGNATURES[kind]
    return start[place:].startswith(marks)


def kind_of(start: bytes) -> str | None:
    """Key of SIGNATURES, or "web page", of the first 512 bytes of a file; None for what is none of them."""
    kind = next((kind for kind in SIGNATURES if begins(start, kind)), None)
    head = start[:512].lower()
    return "web page" if kind is None and any(mark in head for mark in _WEB_PAGE) else kind
