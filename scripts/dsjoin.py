"""The same as `ttc join`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main("join")
