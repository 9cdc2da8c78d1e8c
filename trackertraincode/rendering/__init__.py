"""Synthetic faces: a head model, its labels and everything else that is in an image, without OpenGL.

FaceScene.draw(rng) --render_scene--> Sample            (one draw of all randomness, one pure function)
"""
