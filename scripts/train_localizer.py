"""The same as `ttc train-localizer`."""

from trackertraincode.__main__ import main

if __name__ == "__main__":
    main("train-localizer")
