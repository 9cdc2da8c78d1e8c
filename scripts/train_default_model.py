"""The same as `ttc train-default`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main("train-default")
