r"""Head-pose data and training suite.

archive --conversion--> HDF5 --augmentation--> Batch --models--> Prediction --export--> ONNX
                                                 losses, training ^        \--evaluation--> tables
"""

import os

__version__ = "1.0.0"

if "OMP_WAIT_POLICY" not in os.environ:
    # Torch's threads wait for each other by spinning, which on cores with other work made training steps a hundred times
    # slower. This shorter spin costs a tenth on an idle machine. libgomp reads it when torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
