"""The same as `ttc expand`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main("expand")
