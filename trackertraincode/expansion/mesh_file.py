"""What is turned, as a file for other programs: sheet + image --write_mesh--> NAME.glb, with its texture inside."""

from pathlib import Path

import numpy as np

from trackertraincode.errors import UserError
from trackertraincode.expansion.sheet import Sheet
from trackertraincode.files import whole_file
from trackertraincode.parts import how_to_install


def write_mesh(path: Path, image: np.ndarray, sheet: Sheet) -> None:
    """image: (H, W, 3). Pixels as units, y up, z towards the viewer. Raises UserError without trimesh."""
    try:
        import trimesh
        from PIL import Image
    except ImportError as error:
        raise UserError(f"--write-mesh needs trimesh ({error}): {how_to_install('opengl')}.") from error
    size = np.array([image.shape[1], image.shape[0]])
    texture = trimesh.visual.TextureVisuals(
        uv=sheet.points[:, :2] / size * [1.0, -1.0] + [0.0, 1.0], image=Image.fromarray(image)
    )
    axes = np.array([1.0, -1.0, -1.0])
    mesh = trimesh.Trimesh(sheet.points * axes, sheet.triangles, visual=texture, process=False)
    content = mesh.export(file_type="glb")
    assert isinstance(content, bytes)
    with whole_file(path) as temporary:
        temporary.write_bytes(content)
