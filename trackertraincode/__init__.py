r"""Head-pose data and training suite.

archive --conversion--> HDF5 --augmentation--> Batch --models--> Prediction --export--> ONNX
                                                 losses, training ^        \--evaluation--> tables
"""

import os

# ONNX Runtime tells its makers about models and the machine otherwise.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "1.0.0"
