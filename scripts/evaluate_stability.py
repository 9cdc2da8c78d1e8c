"""The same as `ttc stability`."""

from trackertraincode.__main__ import main

if __name__ == "__main__":
    main("stability")
