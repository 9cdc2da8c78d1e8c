"""The same as `ttc evaluate`."""

from trackertraincode.__main__ import main

if __name__ == "__main__":
    main("evaluate")
