"""The same as `ttc filter`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main("filter")
