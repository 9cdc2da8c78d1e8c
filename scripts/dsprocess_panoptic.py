"""The same as `ttc convert panoptic`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main("convert", "panoptic")
