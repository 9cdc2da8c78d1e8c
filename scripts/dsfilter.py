"""The same as `ttc filter`."""

from trackertraincode.__main__ import main

if __name__ == "__main__":
    main("filter")
