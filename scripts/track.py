"""The same as `ttc track`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main("track")
