"""The same as `ttc convert wflw`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main("convert", "wflw")
