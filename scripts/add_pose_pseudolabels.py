"""The same as `ttc pseudolabels`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main("pseudolabels")
