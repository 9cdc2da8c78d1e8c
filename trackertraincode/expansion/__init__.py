"""Faces of a sample file turned to large poses, blinking and relit, with exact labels.

Sample --head_in--> posed head --build_sheet--> Sheet --turned--> mesh --draw--> image
labels --turn_labels----------------------------------------------------------> labels
"""
