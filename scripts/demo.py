"""The same as `ttc demo`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main("demo")
