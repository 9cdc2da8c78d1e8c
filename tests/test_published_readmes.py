"""The commands of both published READMEs that convert and evaluate, on tiny data; what is gone says so.

Their trainings are in tests/training/test_published.py, more evaluations and exports in
tests/evaluation/test_published_commands.py.
"""

import re
import shlex
from pathlib import Path

import pytest

from conftest import PROJECT, run_script
from trackertraincode.commands import run
from trackertraincode.conversion.synthetic import write_faces
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.models.checkpoint import About, save_network
from trackertraincode.models.pose_network import NetworkConfig, build_network
from trackertraincode.rendering.generate import Request

PAGE = (PROJECT / "docs" / "published.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """$DATADIR with aflw2k.h5, and the archives and a model beside it."""
    folder = tmp_path_factory.mktemp("published")
    write_faces(Request(4, 64, 1, "300wlp"), folder / "300W-LP.zip", 0)
    write_faces(Request(4, 64, 2, "aflw2k"), folder / "AFLW2000-3D.zip", 0)
    run_script("dsprocess_aflw2k.py", folder / "AFLW2000-3D.zip", folder / "aflw2k.h5", "--workers", 0)
    config = NetworkConfig(backbone="repvgg_az", width=0.25, input_size=33)
    save_network(folder / "model.ckpt", build_network(config, embedded_head()), About())
    return folder


@pytest.mark.parametrize(
    "line",
    [
        "dsprocess_aflw2k.py AFLW2000-3D.zip aflw2k.h5",
        "dsaflw2k_processing.py -n 3 AFLW2000-3D.zip older.h5",
        "ds300wlp_processing.py 300W-LP.zip 300wlp.h5",
        "dsprocess_300wlp.py --reconstruct-head-bbox 300W-LP.zip meshes.h5",
        "evaluate_pose_network.py --ds aflw2k3d model.ckpt",
    ],
)
def test_commands_of_opnet_run_as_they_stand(line: str, folder: Path) -> None:
    script, *words = shlex.split(line)
    words = [str(folder / word) if Path(word).suffix in (".zip", ".h5", ".ckpt") else word for word in words]
    run_script(script, *words, "--workers", 0, DATADIR=str(folder))
    if script.startswith("ds"):
        assert len(Hdf5PoseDataset(words[-1])) == (3 if "-n" in words else 4)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train --ds repro_300_wlp --auglevel 2", "option --auglevel of published code isn't here: --no-imgaug turns"),
        ("convert aflw2k a.zip a.h5 --prob-closed-eyes 1.", "ttc convert aflw2k --close-eyes shuts the eyes"),
    ],
)
def test_options_that_are_gone_say_what_replaces_them(
    line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(line.split())
    assert message in capsys.readouterr().err


def test_what_the_page_names_is_here() -> None:
    """Scripts of this project, commands and backbones in its tables; its blocks are parsed by test_docs."""
    from trackertraincode.commands import COMMANDS
    from trackertraincode.models.backbones import BACKBONES

    assert set(re.findall(r"`ttc ([a-z-]+)", PAGE)) <= set(COMMANDS)
    assert set(re.findall(r"`((?:repvgg|efficientnet)_\w+)`", PAGE)) <= set(BACKBONES)
    for script in re.findall(r"python scripts/(\w+\.py)", PAGE):
        assert (PROJECT / "scripts" / script).is_file(), script
