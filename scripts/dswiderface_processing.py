"""The same as `ttc convert widerface`, under the name in OpNet's published README."""

from trackertraincode.__main__ import main

if __name__ == "__main__":
    main("convert", "widerface")
