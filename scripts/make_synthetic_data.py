"""The same as `ttc render`."""

from trackertraincode.__main__ import main

if __name__ == "__main__":
    main("render")
