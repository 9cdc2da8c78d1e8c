"""Where pixels are. Positions count from the corner of the image; OpenCV and most archives from the first pixel's centre."""

HALF_PIXEL = 0.5
