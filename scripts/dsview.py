"""The same as `ttc view`."""

from trackertraincode.__main__ import main

if __name__ == "__main__":
    main("view")
