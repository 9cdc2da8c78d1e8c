"""The words that all parts share: which fields a face has, one stored face, a batch of crops, a prediction.

Sample (numpy, pixels) --augmentation--> Batch (tensors, normalised crop) --models--> Prediction (same units)
"""
