"""The same as `ttc convert biwi`."""

from trackertraincode.__main__ import main

if __name__ == "__main__":
    main("convert", "biwi")
