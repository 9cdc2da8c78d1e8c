"""The same as `ttc convert replicantface`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main("convert", "replicantface")
