"""The same as `ttc stability`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main("stability")
