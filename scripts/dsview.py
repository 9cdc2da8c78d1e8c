"""The same as `ttc view`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main("view")
