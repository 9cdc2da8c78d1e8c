"""The same as `ttc track`."""

from trackertraincode.__main__ import main

if __name__ == "__main__":
    main("track")
