"""The same as `ttc convert synface`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main("convert", "synface")
