"""The same as `ttc train`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main("train")
