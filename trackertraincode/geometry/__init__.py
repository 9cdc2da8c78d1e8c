"""Tensor maths of poses, boxes, image maps and cameras; imports torch, or NumPy alone.

Frames (right-handed, seen from the front): X right, Y down, Z into the screen. A head that looks into the camera has
the identity rotation. Pixels: the top-left corner of an image is (0, 0), the centre of its first pixel (0.5, 0.5).
"""
