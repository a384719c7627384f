import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from selfguide.core.artifact import ArrayWriter, open_array, read_meta, save_array, write_meta
from selfguide.core.digest import digest_all, digest_file
from selfguide.core.errors import UserError
from selfguide.core.seeding import derive_seed
from selfguide.core.target import replacing


@given(hnp.arrays(st.sampled_from([np.uint8, np.int32, np.float32]), hnp.array_shapes(min_dims=1, max_dims=4)))
def test_save_then_open_is_the_identity(tmp_path_factory, array):
    path = tmp_path_factory.mktemp("a") / "x.npy"
    save_array(path, array)
    found = open_array(path, str(array.dtype), array.shape, "s")
    assert found.dtype == array.dtype
    assert np.array_equal(found, array, equal_nan=array.dtype.kind == "f")


@given(
    hnp.arrays(st.sampled_from([np.uint8, np.int32, np.bool_]), hnp.array_shapes(min_dims=1, max_dims=4)),
    st.lists(st.integers(0, 6), max_size=4),
)
def test_rows_appended_make_the_bytes_of_the_whole(tmp_path_factory, array, cuts):
    folder = tmp_path_factory.mktemp("a")
    save_array(folder / "whole.npy", array)
    with ArrayWriter(folder / "rows.npy") as writer:
        for part in np.split(array, sorted(cuts)):
            writer.append(part)
    assert writer.num_rows == len(array)
    assert (folder / "rows.npy").read_bytes() == (folder / "whole.npy").read_bytes()


def test_appended_rows_must_be_alike(tmp_path):
    with ArrayWriter(tmp_path / "x.npy") as writer:
        writer.append(np.zeros((2, 3), np.uint8))
        for other in (np.zeros((2, 4), np.uint8), np.zeros((2, 3), np.int8)):
            with pytest.raises(ValueError, match=r"expected rows of uint8 \(3,\)"):
                writer.append(other)
    assert len(open_array(tmp_path / "x.npy", "uint8", (2, 3), "s")) == 2


@given(st.integers(0, 150))
def test_a_truncated_array_names_its_file(tmp_path_factory, keep):
    path = tmp_path_factory.mktemp("a") / "x.npy"
    save_array(path, np.zeros(100, np.uint8))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"x\.npy: not a whole \.npy file.*dvc repro things"):
        open_array(path, "uint8", (None,), "things")


def test_wrong_shape_or_type_says_both(tmp_path):
    save_array(tmp_path / "x.npy", np.zeros((3, 2), np.float32))
    with pytest.raises(UserError, match=r"expected float32 \(any, 4\), found float32 \(3, 2\)"):
        open_array(tmp_path / "x.npy", "float32", (None, 4), "s")
    with pytest.raises(UserError, match=r"expected uint8 .* found float32"):
        open_array(tmp_path / "x.npy", "uint8", (3, 2), "s")


def test_replacing_is_all_or_nothing(tmp_path):
    with replacing(tmp_path / "a", "thing") as folder:
        (folder / "x").write_text("old")
        write_meta(folder, "thing")
    with pytest.raises(RuntimeError), replacing(tmp_path / "a", "thing") as folder:  # noqa: PT012
        (folder / "x").write_text("new")
        raise RuntimeError
    assert (tmp_path / "a/x").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_meta_seals_the_bytes(tmp_path):
    for name in ("a", "b"):
        with replacing(tmp_path / name, "thing") as folder:
            save_array(folder / "x.npy", np.arange(5))
            write_meta(folder, "thing", size=5)
    assert (tmp_path / "a/meta.json").read_bytes() == (tmp_path / "b/meta.json").read_bytes()
    assert read_meta(tmp_path / "a", "thing", "s")["digest"] == digest_all({"x.npy": digest_file(tmp_path / "a/x.npy")})
    (tmp_path / "a/meta.json").write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        read_meta(tmp_path / "a", "thing", "s")


@given(st.integers(0, 2**31), st.lists(st.one_of(st.integers(0, 99), st.text(max_size=3)), max_size=3))
def test_seeds_are_63_bit_and_differ_by_path(seed, path):
    assert 0 <= derive_seed(seed, *path) < 2**63
    assert derive_seed(seed, *path) == derive_seed(seed, *path)
    assert derive_seed(seed, *path) != derive_seed(seed, *path, "more")
