"""The same as `ttc check`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main("check")
