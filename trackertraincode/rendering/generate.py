"""Many synthetic faces, each a function of seed and number."""

from dataclasses import dataclass, replace

import numpy as np

from trackertraincode.facemodel.embedded import NAME as EMBEDDED
from trackertraincode.rendering.archives import RenderedFace
from trackertraincode.rendering.person import Person
from trackertraincode.rendering.scene import MAX_YAW, FaceScene, render_scene

IMAGES_PER_PERSON = 4  # of one person with one expression, as 300W-LP has several poses of one image
ORIGINAL_SPREAD = 0.4  # of the first image's angles: the others are the large poses
FACES_PER_TASK = 8  # of a worker
BEYOND_PROFILE = np.radians(105.0)  # yaw to learn from: networks shrink what is next to the end of their range


@dataclass(frozen=True)
class Request:
    """What to make."""

    count: int
    size: int  # edge of the square images, pixels
    seed: int
    format: str  # "hdf5", or one of LAYOUTS
    head: str = EMBEDDED  # name of the head model: a key of OWN_MODELS


def make_face(request: Request, index: int) -> RenderedFace:
    """The index-th face of a request; depends on nothing else."""
    grouped = request.format != "aflw2k"
    person_index, number = divmod(index, IMAGES_PER_PERSON) if grouped else (index, 0)
    person_rng = np.random.default_rng([request.seed, 0, person_index])
    person = Person.draw(person_rng, request.head)
    rng = np.random.default_rng([request.seed, 1, index])
    spread = ORIGINAL_SPREAD if request.format == "300wlp" and number == 0 else 1.0
    scene = FaceScene.draw(rng, person, spread, max_yaw=BEYOND_PROFILE if grouped else MAX_YAW)
    sample = render_scene(scene, request.size, segmentation=request.format == "hdf5")
    name = f"face {index}"
    sample = replace(sample, name=name, individual=person_index, sequence=str(person_index))
    return RenderedFace(sample, person_index, number, request.head)
