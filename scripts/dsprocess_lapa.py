"""The same as `ttc convert lapa`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main("convert", "lapa")
