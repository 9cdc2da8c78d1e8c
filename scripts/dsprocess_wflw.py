"""The same as `ttc convert wflw`."""

from trackertraincode.__main__ import main

if __name__ == "__main__":
    main("convert", "wflw")
