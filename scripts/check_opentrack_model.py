"""The same as `ttc check-model`."""

from trackertraincode.__main__ import main

if __name__ == "__main__":
    main("check-model")
