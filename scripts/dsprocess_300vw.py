"""The same as `ttc convert 300vw`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main("convert", "300vw")
