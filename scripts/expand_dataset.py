"""The same as `ttc expand`."""

from trackertraincode.__main__ import main

if __name__ == "__main__":
    main("expand")
