"""The same as `ttc info`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main("info")
