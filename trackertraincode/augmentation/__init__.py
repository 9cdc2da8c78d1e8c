"""From stored samples to what a network sees: crops, turns, intensities.

JPEG bytes, labels --draw--> one affine map per image --warp--> crop; labels move by the same map --> Batch
"""
