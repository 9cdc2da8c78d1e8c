r"""Head-pose data and training suite.

archive --conversion--> HDF5 --augmentation--> Batch --models--> Prediction --export--> ONNX
                                                 losses, training ^        \--evaluation--> tables
"""

__version__ = "1.0.0"
