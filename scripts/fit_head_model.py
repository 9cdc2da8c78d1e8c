"""The same as `ttc fit`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main("fit")
