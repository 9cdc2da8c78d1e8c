"""The same as `ttc pseudolabels`."""

from trackertraincode.__main__ import main

if __name__ == "__main__":
    main("pseudolabels")
