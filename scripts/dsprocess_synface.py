"""The same as `ttc convert synface`."""

from trackertraincode.__main__ import main

if __name__ == "__main__":
    main("convert", "synface")
