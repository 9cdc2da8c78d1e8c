"""The same as `ttc convert unlabeled_images`."""

from trackertraincode.__main__ import main

if __name__ == "__main__":
    main("convert", "unlabeled_images")
