"""The same as `ttc convert replicantface`."""

from trackertraincode.__main__ import main

if __name__ == "__main__":
    main("convert", "replicantface")
