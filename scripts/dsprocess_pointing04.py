"""The same as `ttc convert pointing04`."""

from trackertraincode.__main__ import main

if __name__ == "__main__":
    main("convert", "pointing04")
