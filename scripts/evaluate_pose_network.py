"""The same as `ttc evaluate`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main("evaluate")
