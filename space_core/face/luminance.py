"""How bright a colour is."""

import numpy as np

LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # shares of red, green and blue, as in BT.601
