"""The same as `ttc convert pointing04`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main("convert", "pointing04")
