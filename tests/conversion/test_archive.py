"""Archives of any kind show the same members; what can't be read is said, and dangers are refused."""

import gzip
import io
import os
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Literal

import pytest
from archive_damage import Members, convert, write_folder, write_zip

from trackertraincode.conversion.archive import Archive, one_of_each, open_archive, unknown_images
from trackertraincode.conversion.archive_kinds import unpacked
from trackertraincode.errors import ArchiveError

MEMBERS: Members = {"a/Ünï.jpg": b"one", "a/b.TXT": b"two", "c.txt": b"three"}


def write_tar(path: Path, members: Members, mode: Literal["w", "w:gz", "w:bz2", "w:xz"] = "w") -> Path:
    with tarfile.open(path, mode) as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


BUILDERS = {
    "folder": write_folder,
    "a.zip": write_zip,
    "a.tar": write_tar,
    "a.tgz": lambda path, members: write_tar(path, members, "w:gz"),
    "a.tar.bz2": lambda path, members: write_tar(path, members, "w:bz2"),
    "a.tar.xz": lambda path, members: write_tar(path, members, "w:xz"),
}


@pytest.mark.parametrize("kind", BUILDERS)
@pytest.mark.parametrize("prefix", ["", "./"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_all_kinds_show_the_same_members(kind: str, prefix: str, form: Literal["NFC", "NFD"], tmp_path: Path) -> None:
    spelt = {prefix + unicodedata.normalize(form, name): data for name, data in MEMBERS.items()}
    path = BUILDERS[kind](tmp_path / kind, spelt)
    with unpacked(path, tmp_path / "out.h5") as readable:
        archive = Archive(readable)
        assert sorted(archive.names) == sorted(MEMBERS)
        assert {name: archive.read(name) for name in MEMBERS} == MEMBERS
        assert "a/b.txt" in archive
        assert archive.read("A/B.txt") == b"two"
        assert archive.read(unicodedata.normalize("NFD", "a/Ünï.jpg")) == b"one"
        assert (archive.file("a/b.txt") is not None) == (kind == "folder")
    assert [p.name for p in tmp_path.iterdir()] == [kind]


def test_a_browser_and_a_camera_may_have_renamed_members(tmp_path: Path) -> None:
    archive = Archive(write_zip(tmp_path / "a.zip", {"a%2B15.JPG": b"x", ".//b//c.jpg": b"y"}))
    assert archive.names == ["a+15.JPG", "b/c.jpg"]
    assert archive.read("a+15.jpg") == b"x"


def test_names_are_what_they_are_and_percent_signs_only_a_second_way_to_find_one(tmp_path: Path) -> None:
    members = {"a%20b.jpg": b"encoded", "a b.jpg": b"plain", "%2Fphotos%2Fc.jpg": b"c", "100%.jpg": b"all"}
    for archive in (Archive(write_zip(tmp_path / "a.zip", members)), Archive(write_folder(tmp_path / "a", members))):
        assert {name: archive.read(name) for name in archive.names} == members
    assert Archive(write_zip(tmp_path / "b.zip", {"a%20b.jpg": b"x"})).read("a b.jpg") == b"x"


def test_links_in_a_tar_are_the_files_that_they_lead_to(tmp_path: Path) -> None:
    """As tar writes files with several names, and as folders show them."""
    folder = write_folder(tmp_path / "data", {"a/one.jpg": b"1", "b/other.jpg": b"2"})
    os.link(folder / "a/one.jpg", folder / "b/linked.jpg")
    (folder / "b/soft.jpg").symlink_to("../a/one.jpg")
    (folder / "b/softer.jpg").symlink_to("soft.jpg")
    (folder / "b/nowhere.jpg").symlink_to("gone.jpg")
    (folder / "b/round.jpg").symlink_to("round.jpg")
    with tarfile.open(tmp_path / "data.tar", "w") as tar:
        tar.add(folder, ".")
    shown = {"a/one.jpg": b"1", "b/other.jpg": b"2", "b/linked.jpg": b"1", "b/soft.jpg": b"1", "b/softer.jpg": b"1"}
    for archive in (Archive(folder), Archive(tmp_path / "data.tar")):
        assert {name: archive.read(name) for name in archive.names} == shown


def test_a_tar_is_not_kept_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows lets nobody remove a file that is open, as the one that a compressed archive is unpacked to."""
    path = write_tar(tmp_path / "a.tar", {"a.jpg": b"x"})
    opened: list[IO[Any]] = []
    really_open: Callable[..., IO[Any]] = Path.open

    def noted(self: Path, *words: Any) -> IO[Any]:
        opened.append(really_open(self, *words))
        return opened[-1]

    monkeypatch.setattr(Path, "open", noted)
    archive = Archive(path)
    assert archive.read("a.jpg") == b"x"
    assert opened
    assert all(file.closed for file in opened)


def test_what_systems_add_is_left_out(tmp_path: Path) -> None:
    junk = (
        "__MACOSX/a.jpg",
        ".Trash-1000/a.jpg",
        "#recycle/a.jpg",
        "b/@eaDir/a.jpg/x.jpg",
        ".ipynb_checkpoints/a-checkpoint.jpg",
        "._a.jpg",
        "b/Thumbs.db",
    )
    archive = Archive(write_zip(tmp_path / "a.zip", {"a.jpg": b"", **dict.fromkeys(junk, b"")}))
    assert archive.names == ["a.jpg"]


def test_copies_and_unknown_images_are_counted(tmp_path: Path) -> None:
    names = ("copy/deep/1.jpg", "copy/1.jpg", "copy/2.jpg", "1.jpg", "odd name.png", "note.txt")
    assert one_of_each(("a/1", "b/1", "b/2"), lambda name: name[-1])[0] == {"1": "b/1", "2": "b/2"}
    archive = Archive(write_zip(tmp_path / "a.zip", dict.fromkeys(names, b"")))
    found, notes = one_of_each(archive.names, lambda n: n[-5] if n[-5].isdigit() else None)
    assert found == {"1": "1.jpg", "2": "copy/2.jpg"}
    assert notes == ("2 images are there again in other folders, such as copy/1.jpg: left out",)
    labelled = {"copy/deep/1.jpg"}
    assert one_of_each(names[:4], lambda n: n[-5], labelled.__contains__)[0] == {
        "1": "copy/deep/1.jpg",
        "2": "copy/2.jpg",
    }
    assert one_of_each(("a (1)/1", "a/1"), lambda name: name[-1])[0] == {"1": "a/1"}
    assert unknown_images(archive, lambda n: n[-5].isdigit()) == (
        "1 images have names that aren't of this set, such as odd name.png: left out",
    )


def patched_zip(path: Path, local: int, central: int, value: int) -> Path:
    """A zip file with another value in the headers of its members."""
    data = bytearray(write_zip(path, MEMBERS).read_bytes())
    for mark, offset in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        at = -1
        while (at := data.find(mark, at + 1)) >= 0:
            data[at + offset : at + offset + 2] = struct.pack("<H", value | data[at + offset + 1] << 8)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Rar!\x1a\x07\x01\0" + bytes(500), r"is a RAR archive, which isn't read here; unpack it and give the folder"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(500), "is a 7-Zip archive, which isn't read here; unpack it"),
        (b"  <!DOCTYPE html><title>Quota</title>", "is a web page; its server wants a login .* download it again in a"),
        (b"PK\x03\x04 cut", "not a complete zip file .* download it again"),
        (bytes(5000), "not a complete zip file .* download it again"),
        (b"\xef\xbb\xbf<!-- so --><html>", "is a web page"),
        (b"\x28\xb5\x2f\xfd" + bytes(99), "is packed with Zstandard, which isn't read here; unpack it"),
        (b"\x1f\x9d\x90" + bytes(99), "is packed with compress, which isn't read here; unpack it"),
        (b"\x04\x22\x4d\x18" + bytes(99), "is packed with LZ4, which isn't read here; unpack it"),
        (b"PK\x07\x08PK\x03\x04", r"is a part of a split zip file; join the parts first: zip -s 0 NAME\.zip"),
        (b"PK\x03\x04" + b"PK\5\6\4\0\4\0" + bytes(14), "is a part of a split zip file"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "is a pointer of Git LFS; .* git lfs pull"),
        (
            b'{"error": "rate limit"}',
            r"nor another archive that is read .*: begins with '{\\?\"error\\?\": \"rate limit\"}'",
        ),
    ],
)
def test_what_is_no_archive_is_said(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ArchiveError, match=message):
        Archive(tmp_path / "a.zip")


def test_the_first_part_of_a_split_file_and_other_bytes_are_told_apart(tmp_path: Path) -> None:
    data = write_zip(tmp_path / "a.zip", MEMBERS).read_bytes()
    (tmp_path / "a.zip.001").write_bytes(data[:60])
    with pytest.raises(ArchiveError, match=r"a\.zip\.001: is a part of a split archive; join the parts first"):
        Archive(tmp_path / "a.zip.001")


@pytest.mark.parametrize("name", ["a.zip.002", "a.zip.ab", "a.zip.part2"])
def test_the_last_part_of_a_split_file_is_told(tmp_path: Path, name: str) -> None:
    """It has the table of members, whose bytes are in others."""
    data = write_zip(tmp_path / "a.zip", MEMBERS).read_bytes()
    (tmp_path / name).write_bytes(data[60:])
    with pytest.raises(ArchiveError, match=rf"{name}: is a part of a split archive; join the parts first: cat NAME"):
        Archive(tmp_path / name)


@pytest.mark.parametrize("name", ["a.tgz.001", "a.tar.gz.aa", "a.tar.xz.part00"])
def test_a_part_of_a_compressed_file_is_told(tmp_path: Path, name: str) -> None:
    data = write_tar(tmp_path / "a", MEMBERS, "w:xz" if "xz" in name else "w:gz").read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(ArchiveError, match=rf"{name}: is a part of a split archive; join the parts first"):
        unpacked(tmp_path / name, tmp_path / "out.h5").__enter__()


def test_a_compressed_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"path,x0,y0,x1,y1\na.jpg,1,2,3,4\n"))
    with pytest.raises(
        ArchiveError, match=r"a\.csv\.gz: holds no archive, but text \('path,x0.*; unpack it and give the file"
    ):
        unpacked(tmp_path / "a.csv.gz", tmp_path / "out.h5").__enter__()


def test_names_of_macos_are_read(tmp_path: Path) -> None:
    """UTF-8 without the flag that says so, which Python takes for cp437; and names that are of cp437."""
    for code in ("utf-8", "cp437"):
        path = write_zip(tmp_path / f"{code}.zip", {"xxxxxx.jpg": b"one"})
        raw = "müller" if code == "cp437" else "mülle"
        path.write_bytes(path.read_bytes().replace(b"xxxxxx", raw.encode(code)))
        archive = Archive(path)
        assert archive.names == [f"{raw}.jpg"]
        assert archive.read(f"{raw}.jpg") == b"one"


def test_the_oldest_tar_files_are_read_and_damage_of_packed_ones_is_said(tmp_path: Path) -> None:
    data = bytearray(write_tar(tmp_path / "a.tar", {"a.txt": b"one"}).read_bytes())
    data[257:512] = bytes(255)  # as before POSIX: without mark
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    (tmp_path / "a.tar").write_bytes(data)
    assert Archive(tmp_path / "a.tar").read("a.txt") == b"one"
    packed = bytearray(write_tar(tmp_path / "b.tar.bz2", MEMBERS, "w:bz2").read_bytes())
    packed[len(packed) // 2] ^= 255
    (tmp_path / "b.tar.bz2").write_bytes(packed)
    with pytest.raises(ArchiveError, match=r"b\.tar\.bz2: not a complete file .* download it again"):
        unpacked(tmp_path / "b.tar.bz2", tmp_path / "out.h5").__enter__()


def test_bytes_behind_a_compressed_file_do_no_harm_and_two_compressions_are_said(tmp_path: Path) -> None:
    packed = write_tar(tmp_path / "a.tgz", MEMBERS, "w:gz").read_bytes()
    (tmp_path / "a.tgz").write_bytes(packed + b"a page's end\n")
    with unpacked(tmp_path / "a.tgz", tmp_path / "out.h5") as readable:
        assert set(Archive(readable).names) == set(MEMBERS)
    (tmp_path / "b.tar.gz").write_bytes(gzip.compress(packed))
    with (
        pytest.raises(ArchiveError, match=r"b\.tar\.gz: is compressed twice; unpack it once"),
        unpacked(tmp_path / "b.tar.gz", tmp_path / "out.h5") as readable,
    ):
        Archive(readable)


def test_links_in_folders_are_followed_once_and_never_upwards(tmp_path: Path) -> None:
    write_folder(tmp_path / "disk" / "images", {"1.jpg": b"x", "2.jpg": b"y"})
    (tmp_path / "set").mkdir()
    (tmp_path / "secret.jpg").write_bytes(b"")
    for name, target in (("a", "disk/images"), ("b", "disk/images"), ("up", "."), ("self", "set")):
        (tmp_path / "set" / name).symlink_to(tmp_path / target, target_is_directory=True)
    (tmp_path / "set" / "3.jpg").symlink_to(tmp_path / "disk" / "images" / "1.jpg")
    assert Archive(tmp_path / "set").names == ["3.jpg", "a/1.jpg", "a/2.jpg"]
    assert Archive(tmp_path / "set").read("a/1.jpg") == b"x"


def test_an_archive_in_the_archive_is_named(tmp_path: Path) -> None:
    inner = write_zip(tmp_path / "AFLW2000-3D.zip", {"x.txt": b""})
    outer = write_zip(tmp_path / "a.zip", {"a/AFLW2000-3D.zip": inner.read_bytes()})
    with pytest.raises(ArchiveError, match=r"There is a/AFLW2000-3D\.zip in it: unpack that, and give its folder"):
        convert("dsprocess_aflw2k.py", outer, tmp_path / "a.h5")
    with pytest.raises(ArchiveError, match=r"give AFLW2000-3D\.zip or its folder\.$"):
        convert("dsprocess_aflw2k.py", inner, tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ((8, 10, 9), "packed with Deflate64, .* unpack the archive with another program"),
        ((6, 8, 1), "is encrypted; unpack"),
    ],
)
def test_members_that_cannot_be_read_are_said(tmp_path: Path, places: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ArchiveError, match=rf"member 'c\.txt' {message}" if "is" in message[:2] else message) as caught:
        Archive(patched_zip(tmp_path / "a.zip", *places)).read("c.txt")
    assert "download it again" not in str(caught.value)


@pytest.mark.parametrize("kind", ["a.tar", "a.tgz", "a.tar.bz2", "a.tar.xz"])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_tar_file_that_ends_early_is_said_and_leaves_nothing(kind: str, share: float, tmp_path: Path) -> None:
    path = BUILDERS[kind](tmp_path / kind, {f"{i}.bin": bytes(range(256)) * 16 for i in range(20)})
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with (
        pytest.raises(ArchiveError, match=r"a\.t\S*: not a complete .* download it again"),
        unpacked(path, tmp_path / "out.h5") as readable,
    ):
        Archive(readable)
    assert [p.name for p in tmp_path.iterdir()] == [kind]


def test_a_negative_size_in_a_tar_file_is_damage(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        info = tarfile.TarInfo("a.jpg")
        info.pax_headers = {"size": "-5"}
        file.addfile(info)
    with pytest.raises(ArchiveError, match=r"a\.tar: not a complete tar file \(a negative size\)"):
        Archive(tmp_path / "a.tar")


def test_links_and_devices_in_a_tar_file_are_not_followed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        for name, kind in (("l.jpg", tarfile.SYMTYPE), ("h.jpg", tarfile.LNKTYPE), ("d.jpg", tarfile.CHRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            file.addfile(info)
    assert Archive(tmp_path / "a.tar").names == []


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../up.jpg", "a/../../up.jpg", "C:\\up.jpg", "..\\up.jpg", "%2e%2e/up.jpg"]
)
def test_members_outside_the_archive_are_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"data")
    for path in (tmp_path / "evil.zip", write_tar(tmp_path / "evil.tar", {name: b"data"})):
        with pytest.raises(ArchiveError, match="points outside"):
            Archive(path)


def test_what_is_wrong_in_a_compressed_file_is_told_of_that_file(tmp_path: Path) -> None:
    packed = BUILDERS["a.tgz"](tmp_path / "a.tgz", {"a.jpg": b"x"})
    with (
        pytest.raises(ArchiveError, match=rf"^{re.escape(str(packed))}: no b"),
        unpacked(packed, tmp_path / "x.h5") as tar,
    ):
        raise ArchiveError(f"{tar}: no b")


def test_bombs_are_refused_but_videos_are_not(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("bomb.jpg", "still.avi"):
            archive.writestr(name, bytes(4 * 2**20))
    archive_ = Archive(tmp_path / "bomb.zip")
    with pytest.raises(ArchiveError, match=r"bomb\.jpg' unpacks to \d+ times its size"):
        archive_.read("bomb.jpg")
    assert len(archive_.read("still.avi")) == 4 * 2**20
    bomb = BUILDERS["a.tgz"](tmp_path / "a.tgz", {"a.jpg": bytes(8 * 2**20)})
    with pytest.raises(ArchiveError, match=r"a\.tgz: unpacks to 200 times its size"), unpacked(bomb, tmp_path / "x.h5"):
        pass
    assert not list(tmp_path.glob("x*"))


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.bin", bytes(1000))
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[500] ^= 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(ArchiveError, match=r"'a\.bin' is damaged"):
        Archive(tmp_path / "a.zip").read("a.bin")


@pytest.mark.skipif(shutil.which("tar") is None or sys.platform != "linux", reason="makes holes with GNU tar")
def test_files_with_holes_are_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "a.jpg").open("wb") as file:
        file.write(b"begin")
        file.seek(2**20)
        file.write(b"end")
    (tmp_path / "b.jpg").write_bytes(b"another")
    made = ["tar", "--sparse", "-C", str(tmp_path), "-cf", str(tmp_path / "x.tar"), "a.jpg", "b.jpg"]
    subprocess.run(made, check=True)
    archive = open_archive(tmp_path / "x.tar")
    assert (tmp_path / "x.tar").stat().st_size < 2**19  # so there are holes
    assert archive.read("a.jpg") == (tmp_path / "a.jpg").read_bytes()
    assert archive.read("b.jpg") == b"another"
    whole = (tmp_path / "x.tar").read_bytes()
    (tmp_path / "x.tar").write_bytes(whole[: whole.index(b"end")])
    with pytest.raises(ArchiveError, match=r"member 'a\.jpg' is damaged \(the file ends in it\)"):
        archive.read("a.jpg")
