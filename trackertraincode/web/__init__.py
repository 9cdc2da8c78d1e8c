"""The page that tracks heads in a browser, as built by `make web`, and the server that gives it to a browser."""
