"""Localizer + pose model on images and video, as OpenTrack's NeuralNet tracker does it.

frame --Localizer--> box --pyramid level, patch, area resize, brightness--> network --> frame pixels --> 6-DoF
"""
