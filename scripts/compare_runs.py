"""The same as `ttc compare-runs`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main("compare-runs")
