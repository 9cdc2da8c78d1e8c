"""python -m trackertraincode: the same as `ttc`."""

from trackertraincode.commands import main

if __name__ == "__main__":
    main()
