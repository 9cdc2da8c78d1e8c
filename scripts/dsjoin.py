"""The same as `ttc join`."""

from trackertraincode.__main__ import main

if __name__ == "__main__":
    main("join")
