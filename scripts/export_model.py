"""The same as `ttc export`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main("export")
