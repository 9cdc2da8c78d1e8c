"""300W-LP and AFLW2000-3D in tests: converted, and archives in which something was changed."""

import io
import zipfile
from pathlib import Path

from scipy.io import loadmat, savemat

from conftest import run_script


def convert(script: str, *arguments: object, expect: int = 0) -> str:
    return run_script(f"dsprocess_{script}.py", *arguments, "--workers", 0, expect=expect)


def rewrite(source: Path, destination: Path, change) -> Path:
    """A copy of an archive in which change(name, data) -> (name, data) or None to leave a member out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(destination, "w") as new:
        for name in old.namelist():
            if (changed := change(name, old.read(name))) is not None:
                info = zipfile.ZipInfo(changed[0])
                info.external_attr = 0x81FF8020
                new.writestr(info, changed[1])
    return destination


def broken_mat(data: bytes, **changes: object) -> bytes:
    mat = {k: v for k, v in loadmat(io.BytesIO(data)).items() if not k.startswith("__")}
    mat = {k: v for k, v in (mat | changes).items() if v is not None}
    buffer = io.BytesIO()
    savemat(buffer, mat)
    return buffer.getvalue()


VICTIM = "AFLW2000/image00002"
