"""The same as `ttc review`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main("review")
