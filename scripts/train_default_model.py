"""The same as `ttc train-default`."""

from trackertraincode.__main__ import main

if __name__ == "__main__":
    main("train-default")
