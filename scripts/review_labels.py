"""The same as `ttc review`."""

from trackertraincode.__main__ import main

if __name__ == "__main__":
    main("review")
