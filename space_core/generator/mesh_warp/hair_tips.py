"""Tips of hair outside a person's mask: what is coloured like the hair nearby rather than like the background."""

import cv2
import numpy as np
import scipy
import torch

from space_core.arrays import smoothstep
from space_core.generator.mesh_warp.inpainting import fill
from space_core.generator.mesh_warp.sampling import blur, channels_last, sum_of_channels, to_three_channels

STEP = 2  # pixels of the surroundings per pixel that is looked at; all lengths below are in the latter
SURE = 0.9  # of the mask: a pixel that shows the person
REACH, FADE = 18, 6  # how far from the person tips are sought, and over which distance that ends
HAIR = 4  # standard deviation over which the person's colours are averaged
SHARE = (0.16, 0.45)  # of the way from the background's colour to the hair's: no tip … a tip
OTHER = (0.1, 0.16)  # distance of a colour, 0…1, from that way: a tip … none
MIN_CONTRAST = 0.12  # between hair and background; below, a tip would not be seen
# Where so much of the background further out looks like tips, too, it is texture: leaves, for example.
TEXTURE, TEXTURE_REACH = (0.03, 0.1), 20


def find_hair_tips(picture: torch.Tensor, person: np.ndarray) -> np.ndarray:
    """(640, 640) 1 where surroundings (1, 3, 640, 640), 0…1, show a tip of hair … 0.

    ``person`` (640, 640) is the mask, 0 background … 1 person.
    """
    seen = channels_last(picture[0])
    seen = cv2.resize(seen, None, fx=1 / STEP, fy=1 / STEP, interpolation=cv2.INTER_AREA)
    sure = person[::STEP, ::STEP] > SURE
    if not sure.any() or sure.all():
        return np.zeros_like(person)
    distance, (rows, columns) = scipy.ndimage.distance_transform_edt(~sure, return_indices=True)
    distance = distance.astype(np.float32)
    own = sure.astype(np.float32)
    hair = (blur(seen * to_three_channels(own), HAIR) / to_three_channels(blur(own, HAIR).clip(1e-3)))[rows, columns]
    known = torch.from_numpy((distance > REACH).astype(np.float32))[None, None]
    background = fill(torch.from_numpy(seen).permute(2, 0, 1)[None], known)[0].permute(1, 2, 0).numpy()
    # Further out the background is compared with its own neighbourhood.
    smooth = blur(seen, TEXTURE_REACH / 2)
    background = np.where(distance[..., None] > REACH, smooth, background)

    way, from_background = hair - background, seen - background
    contrast = sum_of_channels(way * way)
    share = sum_of_channels(from_background * way) / contrast.clip(1e-6)
    aside = from_background - share.clip(0, 1.3)[..., None] * way
    other = np.sqrt(sum_of_channels(aside * aside))
    alike = smoothstep(share, *SHARE) * (1 - smoothstep(other, *OTHER)) * (contrast > MIN_CONTRAST**2)
    ring = ((distance > REACH + FADE) & (distance < 2 * REACH + FADE)).astype(np.float32)
    texture = blur(alike * ring, TEXTURE_REACH) / blur(ring, TEXTURE_REACH).clip(1e-3)
    near = (1 - smoothstep(distance, REACH - FADE, REACH)) * ~sure
    tips = alike * near * (1 - smoothstep(texture, *TEXTURE))
    return cv2.resize(tips, None, fx=STEP, fy=STEP, interpolation=cv2.INTER_LINEAR)
