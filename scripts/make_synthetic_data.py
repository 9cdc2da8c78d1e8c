"""The same as `ttc render`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main("render")
