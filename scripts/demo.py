"""The same as `ttc demo`."""

from trackertraincode.__main__ import main

if __name__ == "__main__":
    main("demo")
