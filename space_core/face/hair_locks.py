"""The locks of long hair that hang beside a face: how far each swings is planned, and drawn by generators."""

import numpy as np

# (4, 2) x and y of each lock's middle, normalized: left and right in the image, mid-length and tips.
LOCKS = np.array([[-0.95, 0.6], [-0.95, 1.4], [0.95, 0.6], [0.95, 1.4]])
