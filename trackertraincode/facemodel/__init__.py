"""Deformable head models: the user's BFM "no neck v3", or the embedded parametric head of this repository.

Local frame: X right, Y down, Z into the screen, origin between the eyes, unit = one head radius (100 mm).
"""
