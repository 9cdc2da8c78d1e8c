"""Where faces are: image -> boxes. Converters label with it, the tracker starts with it."""
