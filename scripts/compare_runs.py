"""The same as `ttc compare-runs`."""

from trackertraincode.__main__ import main

if __name__ == "__main__":
    main("compare-runs")
