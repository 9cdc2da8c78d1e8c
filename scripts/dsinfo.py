"""The same as `ttc info`."""

from trackertraincode.__main__ import main

if __name__ == "__main__":
    main("info")
