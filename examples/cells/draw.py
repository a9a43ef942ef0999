"""Draw a photo as a microscope takes it: `python draw.py [FILE]`, cells.png unless given."""

from __future__ import annotations

import sys

import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 640, 480
PITCH = 80
RADII = (10, 24)


def photo(seed: int = 7) -> tuple[Image.Image, int]:
    """Bright cells on a dark ground that is uneven and noisy, and how many there are."""
    random = np.random.default_rng(seed)
    sketch = Image.new("L", (WIDTH, HEIGHT), 0)
    pen = ImageDraw.Draw(sketch)
    places = [(x, y) for x in range(0, WIDTH, PITCH) for y in range(0, HEIGHT, PITCH) if random.random() < 0.7]
    for left, top in places:
        across, down = random.integers(*RADII, 2).tolist()
        right, below = random.integers(RADII[1] + 5, PITCH - RADII[1] - 5, 2).tolist()
        x, y = left + right, top + below
        pen.ellipse((x - across, y - down, x + across, y + down), fill=int(random.integers(130, 170)))
    ground = np.linspace(20, 60, WIDTH) + random.normal(0, 25, (HEIGHT, WIDTH))
    return Image.fromarray(np.clip(np.asarray(sketch) + ground, 0, 255).astype(np.uint8)), len(places)


if __name__ == "__main__":
    file = sys.argv[1] if len(sys.argv) > 1 else "cells.png"
    picture, cells = photo()
    picture.save(file)
    print(f"{file}  {picture.width} x {picture.height}, {cells} cells")
