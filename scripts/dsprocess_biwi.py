"""The same as `ttc convert biwi`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main("convert", "biwi")
