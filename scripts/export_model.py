"""The same as `ttc export`."""

from trackertraincode.__main__ import main

if __name__ == "__main__":
    main("export")
