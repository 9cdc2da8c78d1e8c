"""The same as `ttc convert 300vw`."""

from trackertraincode.__main__ import main

if __name__ == "__main__":
    main("convert", "300vw")
