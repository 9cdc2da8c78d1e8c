"""The same as `ttc convert csv`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main("convert", "csv")
