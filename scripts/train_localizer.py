"""The same as `ttc train-localizer`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main("train-localizer")
