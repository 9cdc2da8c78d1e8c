"""The same as `ttc check-model`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main("check-model")
