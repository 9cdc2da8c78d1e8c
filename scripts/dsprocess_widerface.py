"""The same as `ttc convert widerface`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main("convert", "widerface")
