import os
import stat
import struct
import zipfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfguide.core.errors import UserError
from selfguide.images import files as module
from selfguide.images.files import File, files_of, list_files, normalised, same_pictures
from tests.unit.images.conftest import tree


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cat/0.png", "cat/0.png"),
        ("cat\\0.png", "cat/0.png"),
        ("data\\cat/0.png", "data/cat/0.png"),
        ("./cat/0.png", "cat/0.png"),
        (".\\cat\\.\\0.png", "cat/0.png"),
        (".//cat///0.png", "cat/0.png"),
        ("a/../cat/0.png", "cat/0.png"),
        ("../../cat/0.png", "cat/0.png"),
        ("/data/cat/0.png", "data/cat/0.png"),
        ("C:\\data\\cat\\0.png", "data/cat/0.png"),
        ("d:/0.png", "0.png"),
        ("\\\\server\\share\\0.png", "server/share/0.png"),
        ("a:b.png", "a:b.png"),
        ("cat/..0.png", "cat/..0.png"),
        ("cafe\u0301/0.png", "caf\u00e9/0.png"),
        ("..", ""),
    ],
)
def test_one_spelling(name, expected):
    assert normalised(name) == normalised(expected) == expected


@given(st.text("ab.:/\\", max_size=12))
def test_a_path_never_leaves_its_root(name):
    parts = normalised(name).split("/")
    assert not {".", ".."} & set(parts)
    assert "\\" not in normalised(name)
    assert normalised(name) == "" or all(parts)


def contents(root, where="here"):
    return {name: read() for name, read in files_of(where, str(root)).items()}


def windows_zip(path, files):
    """With the names as they are; zipfile itself writes no backslash on Windows alone."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo()
            info.filename = name
            archive.writestr(info, data)
    return path


def test_a_zip_of_windows(tmp_path):
    entries = {"data\\": b"", "data\\cat\\": b"", "data\\cat\\0.png": b"0", "data/dog\\1.png": b"1",
               "__MACOSX\\cat\\._0.png": b"x", "data\\.hidden\\2.png": b"x"}  # fmt: skip
    found = contents(windows_zip(tmp_path / "in.zip", entries))
    assert found == {"data/cat/0.png": b"0", "data/dog/1.png": b"1"}


def test_of_entries_of_one_name_the_last_counts(tmp_path, caplog):
    caplog.set_level("INFO")
    path = tmp_path / "in.zip"
    windows_zip(path, {"cat/0.png": b"0", "cat\\0.png": b"1", "./cat/1.png": b"2", "/": b"x", "..": b"x"})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("cat/0.png", b"3")
    assert contents(path) == {"cat/0.png": b"3", "cat/1.png": b"2"}
    assert "here: passed over 2 files whose name comes again" in caplog.text


def patched(path, at_central, at_local, value):
    """Set 2 bytes of every entry's record, in the directory and before the data."""
    data = bytearray(path.read_bytes())
    for magic, at in ((b"PK\1\2", at_central), (b"PK\3\4", at_local)):
        start = data.find(magic)
        while start >= 0:
            struct.pack_into("<H", data, start + at, value)
            start = data.find(magic, start + 4)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        ((8, 6), 1, "2 files are encrypted, e.g. cat/0.png; unpack it"),
        ((10, 8), 9, "2 files are packed by method 9, which Python does not read, e.g. cat/0.png; unpack it"),
        ((10, 8), 93, "2 files are packed by method 93"),
    ],
)
def test_a_zip_that_cannot_be_unpacked_says_why(tmp_path, at, value, message):
    path = patched(tree(tmp_path / "in.zip", {"cat/0.png": b"0", "dog/0.png": b"1"}), *at, value)
    with pytest.raises(UserError, match=f"here: {message}"):
        list_files("here", str(path))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_of_packing(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "in.zip", "w", method) as archive:
        archive.writestr("0.png", b"0" * 99)
    assert contents(tmp_path / "in.zip") == {"0.png": b"0" * 99}


def test_names_in_utf_8_that_the_zip_does_not_announce(tmp_path):
    path = patched(tree(tmp_path / "in.zip", {"Café/0.png": b"0"}), 8, 6, 0)
    assert contents(path) == {"Café/0.png": b"0"}
    broken = path.read_bytes().replace("é".encode(), b"\x82t")  # é of DOS
    path.write_bytes(broken)
    assert contents(path) == {"Cafét/0.png": b"0"}
    patched(path, 8, 6, 0x800)
    with pytest.raises(UserError, match=r"here: expected a folder or a whole \.zip .*utf-8"):
        list_files("here", str(path))


def test_a_link_in_a_zip_is_no_file(tmp_path, caplog):
    caplog.set_level("INFO")
    path = tree(tmp_path / "in.zip", {"cat/0.png": b"0"})
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("dog/0.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "../cat/0.png")
    assert contents(path) == {"cat/0.png": b"0"}
    assert "passed over 1 links" in caplog.text


def test_a_backslash_in_the_name_of_a_real_file(tmp_path):
    (tmp_path / "cat\\0.png").write_bytes(b"0")
    assert contents(tmp_path) == {"cat/0.png": b"0"}
    tree(tmp_path, {"cat/0.png": b"1"})
    assert contents(tmp_path) == {"cat/0.png": b"1", "cat\\0.png": b"0"}  # both files are there
    (tmp_path / "__MACOSX\\._0.png").write_bytes(b"x")
    assert len(contents(tmp_path)) == 2


def test_loops_end_and_what_lies_beside_the_root_stays_out(tmp_path, caplog):
    caplog.set_level("INFO")
    root = tree(tmp_path / "data" / "train", {"a/0.png": b"0", "b/1.png": b"1"})
    tree(tmp_path / "data" / "test", {"2.png": b"2"})
    for name, target in {
        "self": ".",
        "up": "..",
        "top": "/",
        "a/b": "../b",
        "b/a": "../a",
        "a/root": str(root),
    }.items():
        (root / name).symlink_to(target)
    assert contents(root) == {"a/0.png": b"0", "b/1.png": b"1"}
    assert "here: passed over 6 links to folders that are listed already or hold the link" in caplog.text


def test_every_folder_linked_with_every_other(tmp_path):
    root = tree(tmp_path / "in", {f"{i}/{i}.png": b"%d" % i for i in range(10)})
    for i in range(10):
        for j in range(10):
            (root / f"{i}/to{j}").symlink_to(f"../{j}")
    assert sorted(contents(root)) == [f"{i}/{i}.png" for i in range(10)]  # 10! paths


def test_links_that_lead_out_of_the_root_are_followed_once(tmp_path):
    tree(tmp_path / "other", {"x/0.png": b"0", "y/1.png": b"1"})
    root = tree(tmp_path / "in", {"2.png": b"2", ".store/3.png": b"3"})
    for name, target in {"a": "../other/x", "b": "../other", "c": ".store"}.items():
        (root / name).symlink_to(target)
    assert contents(root) == {"2.png": b"2", "a/0.png": b"0", "b/y/1.png": b"1", "c/3.png": b"3"}
    linked = {name for name, file in list_files("here", str(root)).items() if file.linked}
    assert linked == {"a/0.png", "b/y/1.png", "c/3.png"}


def test_a_root_that_is_a_link(tmp_path):
    tree(tmp_path / "in", {"0.png": b"0"})
    (tmp_path / "link").symlink_to("in")
    assert contents(tmp_path / "link") == {"0.png": b"0"}
    (tmp_path / "self").symlink_to("self")
    with pytest.raises(UserError, match="here: .*check the path"):
        list_files("here", str(tmp_path / "self"))


def test_pipes_are_not_opened(tmp_path, caplog):
    caplog.set_level("INFO")
    root = tree(tmp_path / "in", {"0.png": b"0"})
    os.mkfifo(root / "1.png")
    (root / "2.png").symlink_to("1.png")
    assert contents(root) == {"0.png": b"0"}
    assert "here: passed over 2 pipes, sockets or devices" in caplog.text
    with pytest.raises(UserError, match=r"expected a folder or a whole \.zip \(it is no regular file\)"):
        list_files("here", str(root / "1.png"))


def test_a_link_that_leads_nowhere_is_a_file_that_cannot_be_read(tmp_path):
    for name, target in {"0.png": "gone.png", "1.png": "1.png"}.items():
        (tmp_path / name).symlink_to(target)
    found = files_of("here", str(tmp_path))
    assert sorted(found) == ["0.png", "1.png"]
    for read in found.values():
        with pytest.raises(OSError, match=r"[01]\.png"):
            read()


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    tree(tmp_path, {"a/0.png": b"0", "b/1.png": b"1"})
    scandir = os.scandir

    def refusing(path):
        if path.name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(module.os, "scandir", refusing)
    with pytest.raises(UserError, match="here: .*Permission denied.*/b.*make this folder readable"):
        list_files("here", str(tmp_path))


def copies(*roots):
    """Numbers of files that are given as name => bytes, and how often each was read."""
    reads = []

    def file(name, data):
        def read():
            reads.append(name)
            return data

        return File(name, len(data), read)

    numbers = same_pictures([[file(name, data) for name, data in root.items()] for root in roots])
    return [found.tolist() for found in numbers], reads


def test_copies_are_files_of_one_path_and_content():
    numbers, reads = copies(
        {"cat/0.png": b"0", "cat/1.png": b"1", "dog/1.png": b"1"},
        {"data/cat/0.png": b"0", "data/cat/1.png": b"9", "2.png": b"2"},
        {"1.png": b"9"},
    )
    assert numbers == [[0, 1, 2], [0, 4, 5], [4]]
    assert "2.png" not in reads


def test_copies_may_differ_in_upper_case_and_in_the_form_of_accents(tmp_path):
    roots = {"one": "cat/caf\u00e9.JPG", "other": "Cat/cafe\u0301.jpg"}
    files = [
        list(list_files("here", str(tree(tmp_path / root, {name: b"0"}))).values()) for root, name in roots.items()
    ]
    first, second = same_pictures(files)
    assert first.tolist() == second.tolist() == [0]


def test_no_file_is_read_whose_name_or_size_tells_it_apart():
    numbers, reads = copies({f"{i}.png": b"x" * i for i in range(9)}, {f"{i + 1}.png": b"x" * i for i in range(9)})
    assert sorted(sum(numbers, [])) == list(range(18))
    assert reads == []
    assert copies({"a/0.png": b"0", "b/0.png": b"0"}, {"1.png": b"1"})[1] == []  # equal files in one root


@given(st.lists(st.dictionaries(st.sampled_from(["a/0", "a/1", "b/0"]), st.sampled_from([b"0", b"1", b"00"])),
                min_size=1, max_size=4))  # fmt: skip
def test_copies_agree_with_a_comparison_of_all_pairs(roots):
    numbers, _ = copies(*roots)
    flat = [(root, name, data, number) for root, (files, found) in enumerate(zip(roots, numbers, strict=True))
            for (name, data), number in zip(files.items(), found, strict=True)]  # fmt: skip
    for one in flat:
        for other in flat:
            if one[0] != other[0]:
                assert (one[3] == other[3]) == (one[1:3] == other[1:3])


def test_a_zip_and_its_unpacked_folder_hold_the_same_pictures(tmp_path):
    files = {"cat/0.png": b"0", "dog/1.png": b"1"}
    tree(tmp_path / "in", files)
    windows_zip(tmp_path / "in.zip", {f"in\\{name}": data for name, data in files.items()})
    one, other = (sorted(list_files("here", str(tmp_path / root)).values(), key=lambda file: file.name)
                  for root in ("in", "in.zip"))  # fmt: skip
    assert [file.crc() for file in one] == [file.stored_crc for file in other] == [zlib.crc32(b"0"), zlib.crc32(b"1")]
    first, second = same_pictures([one, other])
    assert first.tolist() == second.tolist() == [0, 1]
