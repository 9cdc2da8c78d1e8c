"""A pickled list of 300W-LP becomes samples; pandas isn't needed, and nothing that a pickle asks for runs."""

import base64
import os
import pickle
import sys
import types
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archive_damage import Members, check_damage, convert, write_folder
from scipy.spatial.transform import Rotation

from close import known
from trackertraincode.conversion.frame_pickle import read_frame_pickle
from trackertraincode.conversion.w300lp_list import make_source
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.errors import ArchiveError, UserError
from trackertraincode.sample.images import encode_jpeg

DOOR = "dsprocess_300wlp_list.py"
TABLE: dict[str, Any] = {
    "image": ["AFW/AFW_1_0", "AFW/AFW_1_1", "HELEN/ü_2_0"],
    "yaw": [0.1, 0.5, -1.0],
    "pitch": [-0.2, 0.25, 0.0],
    "roll": [0.3, -0.125, 0.0],
    "x_min": [10.0, 1.0, 5.0],
    "y_min": [12.0, 2.0, 6.0],
    "x_max": [50.5, 40.0, 70.0],
    "y_max": [60.0, 44.0, 80.0],
}
PANDAS_1_5 = (  # the same table by pandas 1.5.3, protocol 5
    "c-n<j&1w`u5T4zgNn#>~_`4!_QdmJYiF)uLB$^+Lqay~vQ)qf-dox4kkDeZq1p`qqCeXK(g1(6$MDXNI@CAGX-yl}^bZ`?lq?hfg"
    "+UffGtJ(T$%lU9%TYAZfoTeRGw1bSZc9+wHfjl!$1zpts9^85Zo6wRrNme<?>;1>0R4|^>xM(LdrK^k=AkRLEvtaF66=Ql!UN$Kt"
    "j{M?Z4#;s*rg;>s#f<nW2~W#QX_@4`3O*@g5mC-*4`B&sL6#PRmw`|R9eohwFk<T?d*E8{V6NuFdsv2+Tf<Ld8^UqvbVM&#rO5j8"
    "`>?xHJ#Wa`Yw$ep$pJ3CxibR%-4&!f_HgmlB!0;>nS%ak8ksy^c)H+Ce*a4D;6sKfa>Oqqq?%$)P7y}|(_|C_b(LFJdpIV~_tl0j"
    "<57U%q|39!FT369b$x7Be~k6{lUiS9s_3_|fA%44%6j)m9S@GxVIiridRdzTp>Ds4as4Qt@b>Y`e(YD#Pji`NK{#bz<2?gYcN-_e"
    "+|}!sN&mKgGEBp@Pll=1jagH&fx9^SKaA}<r@^!gjAd+d0F2`fodPqvWYXs=yY*rK%#b^L8XM2REE@ZA0L-vE(hnm*wPf?C@H%XR"
    "6>XmuDA!SvvURege!~t56X_iKTDTn)Glb{D38jzl!l61wFu10>-H8$uE67HVu44!1kqAPNHqYW1!wr%|DcYW~7}Jd^MyvbZPSvRJ"
    "%5B9zlUD~(<up}yj4mtN$1i;Ap=bo<0wp8uLS#8$Pou-oscB56Hk?2xV;oMZp2I;!5+<lFa0Mw*A#en3f*c~<n67H~3XS7zy&#=3"
    "M`cpMNKAc(<7cNR{q|p!GO}&"
)


class _Made:
    """An object of a module that isn't there: pickles as what makes it."""

    def __init__(self, how: object, arguments: tuple, state: object = None) -> None:
        self.how = (how, arguments, state)

    def __reduce__(self) -> tuple:
        return self.how if self.how[2] is not None else self.how[:2]


def pandas_pickle(columns: dict, monkeypatch: pytest.MonkeyPatch, new: bool = True, protocol: int = 4) -> bytes:
    """A table as pandas pickles it, since 1.3 or before, by stand-ins for its modules."""

    def named(module: str, name: str) -> object:
        value = type(name, (), {"__module__": module, "__qualname__": name})
        monkeypatch.setitem(sys.modules, module, sys.modules.get(module) or types.ModuleType(module))
        setattr(sys.modules[module], name, value)
        return value

    for package in ("pandas", "pandas.core", "pandas._libs", "pandas.core.internals", "pandas.core.indexes"):
        monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
    index, new_index = (named("pandas.core.indexes.base", name) for name in ("Index", "_new_Index"))
    axes = [
        _Made(new_index, (index, {"data": np.array(list(columns), object), "name": None})),
        _Made(
            new_index,
            (named("pandas.core.indexes.range", "RangeIndex"), {"name": None, "start": 0, "stop": 3, "step": 1}),
        ),
    ]
    blocks = [(np.array([values], object if i == 0 else float), slice(i, i + 1, 1))
              for i, values in enumerate(columns.values())]  # fmt: skip
    manager_class = named("pandas.core.internals.managers", "BlockManager")
    if new:
        made = named("pandas._libs.internals", "_unpickle_block")
        manager = _Made(manager_class, (tuple(_Made(made, (*block, 2)) for block in blocks), axes))
    else:
        extra = {"0.14.1": {"axes": axes, "blocks": [{"values": v, "mgr_locs": m} for v, m in blocks]}}
        manager = _Made(manager_class, (), (axes, [v for v, _ in blocks], [], extra))
    state = {"_mgr" if new else "_data": manager, "_typ": "dataframe"}
    return pickle.dumps(_Made(named("pandas.core.frame", "DataFrame"), (), state), protocol)


@pytest.fixture
def members(monkeypatch: pytest.MonkeyPatch) -> Members:
    images = {
        f"{name}.jpg": encode_jpeg(np.full((90, 100, 3), 60 * i, np.uint8)) for i, name in enumerate(TABLE["image"])
    }
    return {"file.pkl": pandas_pickle(TABLE, monkeypatch), **images}


def build(path: Path, members: Members) -> Path:
    return write_folder(path, members) / "file.pkl"


def test_what_pandas_pickled_is_read_without_it(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(zlib.decompress(base64.b85decode("".join(PANDAS_1_5))))
    assert {name: column.tolist() for name, column in read_frame_pickle(tmp_path / "a.pkl").items()} == TABLE


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_all_layouts_of_pandas_are_read(tmp_path: Path, monkeypatch, new: bool, protocol: int) -> None:
    (tmp_path / "a.pkl").write_bytes(pandas_pickle(TABLE, monkeypatch, new, protocol))
    assert {name: column.tolist() for name, column in read_frame_pickle(tmp_path / "a.pkl").items()} == TABLE


def test_images_angles_and_boxes_become_samples(members: Members, tmp_path: Path) -> None:
    convert(DOOR, build(tmp_path / "a", members), tmp_path / "a.h5", "--strict")
    data = Hdf5PoseDataset(tmp_path / "a.h5")
    assert data.sequence_starts is not None
    assert data.sequence_starts.tolist() == [0, 2, 3]
    mirror = np.diag([1.0, 1.0, -1.0])
    for row, sample in enumerate(data):
        assert sample.image == members[f"{TABLE['image'][row]}.jpg"]
        pitch, yaw, roll = (TABLE[name][row] for name in ("pitch", "yaw", "roll"))
        expected = mirror @ Rotation.from_euler("XYZ", [pitch, -yaw, roll]).as_matrix() @ mirror
        assert np.allclose(Rotation.from_quat(sample.rotation).as_matrix(), expected, atol=1e-6)
        assert known(sample.face_box).tolist() == [TABLE[name][row] for name in ("x_min", "y_min", "x_max", "y_max")]


def test_a_resumed_run_looks_at_the_images_that_rows_name(members: Members, tmp_path: Path) -> None:
    path = build(tmp_path / "a", members)
    (path.parent / f"{TABLE['image'][1]}.jpg").unlink()
    looked_at = [found.relative_to(path.parent).as_posix() for found in make_source(path).beside()]
    assert looked_at == [f"{TABLE['image'][row]}.jpg" for row in (0, 2)]


class Evil:
    def __reduce__(self) -> tuple:
        return os.system, ("exit 1",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"a": 1}), r"file\.pkl: not a table of numbers and texts that pandas pickled \(it holds a dict"),
        (pickle.dumps(Evil()), r"file\.pkl: not a table .* asks for posix\.system"),
        (b"junk", r"file\.pkl: not a table"),
        (None, r"file\.pkl: no such file"),
    ],
)
def test_other_files_are_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "file.pkl").write_bytes(content)
    with pytest.raises(ArchiveError, match=message):
        convert(DOOR, tmp_path / "file.pkl", tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"yaw": [0.1, np.nan, 0.0]}, r"row 1: AFW/AFW_1_1 has pitch, yaw, roll .*nan.*expected radians"),
        ({"roll": [0.1, 20.0, 0.0]}, r"row 1: AFW/AFW_1_1 has pitch, yaw, roll .*20\.0.*expected radians"),
        ({"x_max": [50.0, 0.5, 70.0]}, r"row 1: AFW/AFW_1_1 has the box .* is empty or outside"),
        ({"image": ["AFW/AFW_1_0", "../x", "HELEN/ü_2_0"]}, r"member '\.\./x\.jpg' is missing"),
    ],
)
def test_a_wrong_row_is_skipped_and_named(members: Members, tmp_path: Path, monkeypatch, change, message: str) -> None:
    source = build(tmp_path / "a", members | {"file.pkl": pandas_pickle(TABLE | change, monkeypatch)})
    with pytest.raises(UserError, match=message):
        convert(DOOR, source, tmp_path / "a.h5", "--strict")
    convert(DOOR, source, tmp_path / "a.h5")
    assert len(Hdf5PoseDataset(tmp_path / "a.h5")) == 2


def test_a_missing_column_is_named(members: Members, tmp_path: Path, monkeypatch) -> None:
    table = {name: values for name, values in TABLE.items() if name != "yaw"}
    source = build(tmp_path / "a", members | {"file.pkl": pandas_pickle(table, monkeypatch)})
    with pytest.raises(ArchiveError, match=r"file\.pkl: no column 'yaw' \(found: image, pitch"):
        convert(DOOR, source, tmp_path / "a.h5")


def test_damaged_lists(members: Members, tmp_path: Path) -> None:
    check_damage(DOOR, members, write_folder, tmp_path)
