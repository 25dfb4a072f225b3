"""Quick openings and closings of the mouth, which a regression makes smaller than recorded ones.

A prediction averages over everything that the sound does not determine, such as the exact time of a motion, so that
quick motion loses most. Predicted lip openings have the recorded power up to 3.5 Hz, and 0.37 of it from 4 to 5 Hz,
although half of that motion follows the sound; above 6 Hz recorded motion is the tracker's noise, which no sound
explains.
"""

import numpy as np

from space_core.motion.lips import lip_opening, opening_coefficients

# A filter of lip opening over neighbouring frames, symmetric, from the frame itself on. Its gain is 1.0 up to 2 Hz, 1.2
# at 3, 1.6 to 1.7 from 4.5 to 6, 0.9 at 8 and 0.4 at 10.
KERNEL = (1.03, 0.19, -0.19, -0.115, 0.1)


def enlarge_quick_openings(coefficients: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Coefficients (T, C) of the motion basis (C, 478, 3) with quick changes of lip opening as large as recorded ones.

    The rest of the mouth moves as it does with lip opening; what does not open the lips stays as it is.
    """
    reach = len(KERNEL) - 1
    opening = lip_opening(coefficients, basis)
    filtered = np.convolve(np.pad(opening, reach, "edge"), (*KERNEL[:0:-1], *KERNEL), "valid")
    changed = np.outer(filtered - opening, opening_coefficients(basis))
    return (coefficients + changed).astype(coefficients.dtype)
