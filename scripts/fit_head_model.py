"""The same as `ttc fit`."""

from trackertraincode.__main__ import main

if __name__ == "__main__":
    main("fit")
