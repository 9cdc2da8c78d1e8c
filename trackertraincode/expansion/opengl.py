"""Turned sheets to images by OpenGL, through pyrender: the second renderer, which the software one is compared with.

It needs no screen: EGL or OSMesa, whichever PYOPENGL_PLATFORM names (default: EGL on Linux without a display). A process that
drew so can't import Triton, as compiling networks does: Mesa and Triton each bring an LLVM, which crashes.
"""

import ctypes
import os
import sys
from functools import lru_cache
from typing import Any

import numpy as np

from trackertraincode.errors import UserError
from trackertraincode.expansion.draw import lit
from trackertraincode.expansion.sheet import Turned
from trackertraincode.parts import how_to_install
from trackertraincode.sample.images import Size

SCREENLESS = "a library for drawing without a screen (Debian: libegl1, or libosmesa6 with PYOPENGL_PLATFORM=osmesa)"
BRIGHTEST = 4.0  # factor of light that vertex colours of 1 stand for


def draw_opengl(image: np.ndarray, turned: Turned, shade: np.ndarray | None = None) -> np.ndarray:
    """(H, W, 3) uint8 -> the same size; as `draw`. Raises UserError where there is no OpenGL."""
    size = Size(image.shape[1], image.shape[0])
    drawn, covered = _render(turned, size, _textured(image, turned))
    if shade is not None:
        factors, _ = _render(turned, size, _colored(shade))
        drawn, image = lit(drawn, factors / 255.0 * BRIGHTEST), lit(image, shade[0])
    return np.where(covered[..., None], drawn, image)


def _render(turned: Turned, size: Size, visual: Any) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, 3) uint8 and (H, W) bool where anything is."""
    pyrender, trimesh = _libraries()
    half = np.array([size.width, size.height, max(size)]) / 2
    points = (turned.points / half - [1.0, 1.0, 0.0]) * [1.0, -1.0, -1.0]  # OpenGL: y up, z to the viewer
    mesh = trimesh.Trimesh(points, turned.triangles, visual=visual, process=False)
    scene = pyrender.Scene(bg_color=[0.0, 0.0, 0.0, 0.0], ambient_light=[1.0, 1.0, 1.0])
    scene.add(pyrender.Mesh.from_trimesh(mesh, smooth=False))
    far = float(np.ptp(points[:, 2])) + 2.0
    pose = np.eye(4)
    pose[2, 3] = points[:, 2].max() + 1.0
    scene.add(pyrender.OrthographicCamera(xmag=1.0, ymag=1.0, znear=0.05, zfar=far + 1.0), pose=pose)
    flags = pyrender.RenderFlags.FLAT | pyrender.RenderFlags.SKIP_CULL_FACES
    color, depth = _renderer(size).render(scene, flags=flags)
    return color[..., :3], depth > 0


def _textured(image: np.ndarray, turned: Turned) -> Any:
    """The image as a texture; what lies outside of it is its border."""
    from PIL import Image

    _, trimesh = _libraries()
    size = np.array([image.shape[1], image.shape[0]])
    places = np.clip(turned.source, 0.5, size - 0.5) / size
    material = trimesh.visual.material.PBRMaterial(
        baseColorTexture=Image.fromarray(image), baseColorFactor=[1.0, 1.0, 1.0, 1.0]
    )
    return trimesh.visual.TextureVisuals(uv=places * [1.0, -1.0] + [0.0, 1.0], material=material)


def _colored(shade: np.ndarray) -> Any:
    _, trimesh = _libraries()
    values = np.clip(shade / BRIGHTEST * 255.0, 0, 255).astype(np.uint8)
    return trimesh.visual.ColorVisuals(vertex_colors=np.repeat(values[:, None], 3, axis=1))


@lru_cache(maxsize=4)
def _renderer(size: Size) -> Any:
    pyrender, _ = _libraries()
    try:
        return pyrender.OffscreenRenderer(size.width, size.height)
    except Exception as error:  # each platform has its own
        raise UserError(
            f"OpenGL doesn't start ({type(error).__name__}: {error}); --renderer pyrender needs {SCREENLESS}."
        ) from error


def _libraries() -> tuple[Any, Any]:
    """pyrender and trimesh. Raises UserError where they can't be loaded."""
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
    try:
        import pyrender
        import trimesh
        from OpenGL.arrays.ctypesparameters import CtypesParameterHandler

        # The PyOpenGL that pyrender wants knows them by a name that they haven't had since Python 3.13.
        CtypesParameterHandler().register([type(ctypes.byref(ctypes.c_int()))])
    except Exception as error:  # such as a missing library of the system
        raise UserError(
            f"pyrender can't be loaded ({type(error).__name__}: {error}): {how_to_install('opengl')}; and it needs "
            f"{SCREENLESS}."
        ) from error
    return pyrender, trimesh
