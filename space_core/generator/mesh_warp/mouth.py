"""The inside of the mouth, seen between the lips: teeth, gums, palate and tongue, as a mesh with a depth buffer.

The upper jaw belongs to the skull, the lower one turns about its hinge with the chin and carries the tongue. Colours
and light are taken from the photo, and so are the upper teeth themselves where it shows them.
Lengths are normalized: outer eye corners, about 90 mm apart on an adult, are one unit.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional as F

from space_core.face.smile import smile_of
from space_core.face.topology import INNER_LOWER_LIP, INNER_UPPER_LIP
from space_core.generator.mesh_warp.anatomy import GUM, TONGUE, TOOTH, load_anatomy
from space_core.generator.mesh_warp.face_motion import FaceMotion, HostMotion, index_on, upload
from space_core.generator.mesh_warp.mouth_light import FaceLight, MouthColours, estimate_colours, estimate_light
from space_core.generator.mesh_warp.opening_mask import (
    WINDOW_MARGIN,
    OpeningMask,
    Window,
    alpha_blend,
    opening_mask,
    window_around,
)
from space_core.generator.mesh_warp.rasterizer import rasterize
from space_core.generator.mesh_warp.sampling import pixels_of, sample
from space_core.smoothstep import smoothstep

MILLIMETRE = 1 / 90

# Upper incisors end just below where the lips meet at rest, and further below in a smile, which lifts the lips.
UPPER_EDGE_BELOW_LIPS, BELOW_IN_SMILE = 1.0 * MILLIMETRE, 2.0 * MILLIMETRE
TEETH_BEHIND_LIPS = 5 * MILLIMETRE
ARCH = 2.1  # curvature of the dental arch seen from above: depth = ARCH · x²
JAW_AT_REST = 0.8 * MILLIMETRE  # the lower incisors are that far from where they bite
SKULL_SIDES = (234, 454)  # the skin over the hinges of the jaw
CHIN_POINTS = (152, 148, 377, 175, 171, 396, 199)  # the skin over the chin bone, which goes where the jaw goes
CHIN_SHARE = 0.8  # of the way of the skin over the chin, the lower incisors go
LIP_SHARE, LIP_REACH = 0.35, 4 * MILLIMETRE  # the lower lip goes at most 1 / 0.35 as far as they, and 4 mm further
TYPICAL_MOUTH = 0.55  # normalized width of a mouth at rest; wider ones have wider rows of teeth
TEETH_SIZES = (0.92, 1.1)

# The tongue lies behind the lower incisors. It rises where lips are parted by a jaw that is nearly closed, as for /s/;
# millimetres.
TONGUE_AT_REST = 3.5
TONGUE_RISE = 3.0
TONGUE_ROOT, TONGUE_FRONT = 34.0, 14.0  # depths between which the tongue's rise begins
TONGUE_THICKNESS = 6.0  # of its tip
# By how much speech moves the tongue's front down and back: its upper side to the roots of the upper incisors, beside
# what the jaw has dropped; and its upper side beneath their edges, as far beside that, and its underside over the lower
# incisors.
TONGUE_RAISED, TONGUE_BENEATH, TONGUE_OVER = (-7.0, -3.0), (-1.5, -13.0), (-8.5, -11.0)
TEETH_APART = 4.5  # at least, where the tongue is between them
TONGUE_OUT = 8 * MILLIMETRE  # depth from which on a tongue that comes forward is lit like what is in front of the teeth

CARTOON_FLATNESS = 0.85  # of the light's differences on and between a cartoon's teeth are left out
OVERSAMPLING = 2
NEGLIGIBLE_BLUR = 0.25  # pixels
REACH = 0.04  # normalized; triangles with all corners further from the opening do not show in it
DARKEST = 1 / 512  # colour of what is drawn, at least; what is darker is not drawn
# Depth behind the incisors at which a closed mouth's light has fallen to 1 / e; the tongue lies open to it.
FADE, TONGUE_FADE = 17 * MILLIMETRE, 38 * MILLIMETRE
FADE_BY_GAP = 0.6  # and that much further for every unit by which the lips are apart
# Exponents of the light that reaches a vertex, and what is left of it on a surface that faces away from the viewer:
# light scatters in flesh, and still more in enamel, so that the gaps between teeth are hardly darker than they.
CREVICES, FACING_AWAY = {TOOTH: 0.4, GUM: 0.75, TONGUE: 0.75}, {TOOTH: 0.7, GUM: 0.45, TONGUE: 0.8}
# Light comes in from the front: what faces back into the mouth, by the z of its normal, is kept from so much of it.
INWARDS, INWARDS_SHADE = (-0.1, 0.4), 0.75
ROUNDED, ROUNDED_SHADE = (0.05, 0.3), 0.55  # shares of the width at rest by which rounded mouths are narrower; of light
GLOSS = {TOOTH: (0.22, 30.0), GUM: (0.14, 14.0), TONGUE: (0.12, 10.0)}  # strength and sharpness of the wet highlight

# Photos whose lips are further apart than this show a mouth of their own, which the drawn one replaces as soon as the
# lips have moved by the amounts below (root mean square, normalized).
OPEN_IN_PHOTO = 4 * MILLIMETRE
MOVED_LOW, MOVED_HIGH = 0.002, 0.012
# Teeth are at least that bright, compared with the lips, and no more colourful than that.
TOOTH_BRIGHTNESS = (1.1, 1.3)
TOOTH_SATURATION = (0.42, 0.3)
UPPER_TEETH_REACH = 9 * MILLIMETRE  # below the upper lip; what is bright further down belongs to the jaw
PARTED = (1.2 * MILLIMETRE, 3 * MILLIMETRE)  # from here to there, parting lips let light in
SEAM = 0.5  # of the lips' brightness is left between closed ones
OPEN_BY_JAW = 0.7  # of what a photo shows its lips apart, the jaw has dropped
LEAST_SHARE_OF_TEETH = 0.3  # of what a photo shows between the lips, for its teeth to be taken


@dataclass(frozen=True)
class PreparedMouth:
    """What every frame needs of the mouth.

    Attributes:
        photo: the photo's own landmarks in pixels of the picture from which the mouth was prepared.
        gap: (11, 1) how far the lips' points are apart in the photo although they touch, normalized; 0 if they do not.
        gap_on_host: (11,) the same.
        open_in_photo: whether the photo shows the inside of the mouth.
        origin: (3,) float32, normalized place of the middle of the upper incisors' edge.
        millimetre: of the anatomy, normalized.
        hinge: (2,) float32, normalized y and z of the axis about which the jaw turns.
        jaw: how far the photo's own jaw is dropped, normalized.
        colours, light: of the photo.
        seam, depths: (3, 1, 1) colours of closed lips' seam and of the mouth's depth, 0…1.
        teeth: (1, 4, h, w) the picture, and where the photo's own upper teeth are in it, 0…1.
        has_teeth: whether they are anywhere.
        softness: width of the drawn edges in pixels, that of the photo's own.
        blur: standard deviation in pixels of the Gaussian that makes what is drawn as blurred as the photo.
    """

    photo: FaceMotion
    gap: torch.Tensor
    gap_on_host: np.ndarray
    open_in_photo: bool
    origin: np.ndarray
    millimetre: float
    hinge: np.ndarray
    jaw: float
    colours: MouthColours
    light: FaceLight
    seam: torch.Tensor
    depths: torch.Tensor
    teeth: torch.Tensor
    has_teeth: bool
    softness: float
    blur: float


def prepare_mouth(picture: torch.Tensor, photo: FaceMotion) -> PreparedMouth:
    """The mouth of a photo: its surroundings (1, 3, 640, 640), 0…1, and its own landmarks; on the host."""
    normalized = photo.host.normalized[0]
    upper, lower = normalized[list(INNER_UPPER_LIP)], normalized[list(INNER_LOWER_LIP)]
    opening = max(float(lower[5, 1] - upper[5, 1]), 0.0)
    open_in_photo = opening > OPEN_IN_PHOTO
    posed_upper, posed_lower = (photo.posed[0, list(lip), :2] for lip in (INNER_UPPER_LIP, INNER_LOWER_LIP))
    gap = (posed_lower - posed_upper).norm(dim=-1, keepdim=True) / photo.scale
    gap = torch.zeros_like(gap) if open_in_photo else gap
    # An open mouth has opened downwards from where its lips meet.
    meeting = float(upper[5, 1]) + (0.0 if open_in_photo else 0.5 * opening)
    depth = float(upper[5, 2]) + TEETH_BEHIND_LIPS
    colours = estimate_colours(picture, photo)
    edge = meeting + UPPER_EDGE_BELOW_LIPS + BELOW_IN_SMILE * smile_of(normalized)
    lips = torch.from_numpy(colours.lips)
    teeth = _teeth_in_photo(picture, photo, lips) if open_in_photo else torch.zeros_like(picture[:, :1])
    has_teeth = bool(teeth.any())
    if has_teeth:
        enamel = (1.05 * (picture * teeth).sum((0, 2, 3)) / teeth.sum()).clamp(max=1).numpy()
        colours = replace(colours, enamel=enamel, neck=enamel * colours.neck / colours.enamel)
        edge = max(edge, _lower_edge(teeth, photo, depth))
    width = float(np.linalg.norm(upper[0] - upper[-1]))
    sides = normalized[list(SKULL_SIDES)].mean(0)
    return PreparedMouth(
        photo=photo,
        gap=gap,
        gap_on_host=gap[:, 0].cpu().numpy(),
        open_in_photo=open_in_photo,
        # The teeth's middle is that of the lips, which is off the face's in turned and in asymmetric faces.
        origin=np.array([upper[3:8, 0].mean(), edge, depth], np.float32),
        millimetre=MILLIMETRE * float(np.clip((width / TYPICAL_MOUTH) ** 0.5, *TEETH_SIZES)),
        hinge=sides[1:],
        jaw=OPEN_BY_JAW * opening if open_in_photo else 0.0,
        colours=colours,
        light=estimate_light(picture, photo),
        seam=SEAM * lips[:, None, None],
        depths=torch.from_numpy(colours.depths)[:, None, None],
        teeth=torch.cat([picture, teeth], 1),
        has_teeth=has_teeth,
        softness=1.0,
        blur=0.0,
    )


def mouth_is_open(mouth: PreparedMouth, host: HostMotion) -> bool:
    """Whether the lips leave an opening in any of the frames."""
    return bool((_apart(mouth, host) > 0).any())


def draw_mouth(frames: torch.Tensor, mouth: PreparedMouth, motion: FaceMotion) -> None:
    """Draws the inside of the mouth into frames (B, 3, h, w) around it, in place, where the lips leave it open.

    ``motion`` is in pixels of the frames.
    """
    device = frames.device
    upper, lower = (
        motion.posed.index_select(1, index_on(lip, device))[..., :2] for lip in (INNER_UPPER_LIP, INNER_LOWER_LIP)
    )
    across = lower - upper
    apart = across.norm(dim=-1, keepdim=True)
    # What the lips were apart in the photo while closed is the tracker's, not the mouth's: it does not count as open.
    closing = 0.5 * across / apart.clamp(min=1e-3) * torch.minimum(mouth.gap * motion.scale[:, None, None], apart)
    upper, lower = upper + closing, lower - closing
    points = motion.host.posed[:, [*INNER_UPPER_LIP, *INNER_LOWER_LIP], :2]
    window = window_around(points, WINDOW_MARGIN, frames.shape[2:], device)
    opening = opening_mask(upper, lower, window.pixels, mouth.softness)
    inside = _inside(mouth, motion, window, opening)
    alpha = opening.coverage
    if mouth.open_in_photo:
        lips = [*INNER_UPPER_LIP, *INNER_LOWER_LIP]
        change = motion.host.normalized[:, lips] - mouth.photo.host.normalized[:, lips]
        moved = smoothstep(np.sqrt(np.square(change).sum(-1).mean(-1)), MOVED_LOW, MOVED_HIGH)
        alpha = alpha * upload(moved.astype(np.float32), device)[:, None, None]
    alpha_blend(frames, window, inside, alpha)


def _inside(mouth: PreparedMouth, motion: FaceMotion, window: Window, opening: OpeningMask) -> torch.Tensor:
    """(B, 3, h, w) the inside of the mouth in a window of the frames."""
    if not _parted(mouth, motion.host):
        return mouth.seam.expand(len(window.index), 3, *window.index.shape[1:])
    drawn = _draw_anatomy(mouth, motion, window)
    picture = drawn[:, :3] + (1 - drawn[:, 3:]) * mouth.depths
    if mouth.blur > NEGLIGIBLE_BLUR:
        picture = _blurred(picture, mouth.blur)
    if mouth.has_teeth:
        arch = _on_arch(motion, window.pixels, float(mouth.origin[2]))
        own = sample(mouth.teeth, mouth.photo.project(arch[..., :2], arch[..., 2]))
        picture = torch.lerp(picture, own[:, :3], own[:, 3:])

    # The lips shade what is close behind them, and little light falls in where they are close together.
    millimetre = motion.scale[:, None, None] * MILLIMETRE
    above, below = opening.below_upper / millimetre, opening.above_lower / millimetre
    shade = (0.56 + 0.44 * smoothstep(above, -0.5, 4.5)) * (0.85 + 0.15 * smoothstep(below, -0.5, 2.5))
    shade = shade * (0.6 + 0.4 * smoothstep(above + below, 1.0, 6.0))
    # Lips that hardly part show the shade between them, no teeth.
    height = opening.below_upper + opening.above_lower
    parted = smoothstep(height / motion.scale[:, None, None], *PARTED)
    return torch.lerp(mouth.seam, picture * shade[:, None], parted[:, None])


def _parted(mouth: PreparedMouth, host: HostMotion) -> bool:
    """Whether light falls in between the lips in any of the frames; between their points they may be further apart."""
    return bool((_apart(mouth, host) > 0.6 * PARTED[0]).any())


def _apart(mouth: PreparedMouth, host: HostMotion) -> np.ndarray:
    """(B, 11) how far the lips' points are apart, beyond the photo's gap, normalized."""
    upper, lower = (host.posed[:, list(lip), :2] for lip in (INNER_UPPER_LIP, INNER_LOWER_LIP))
    return np.linalg.norm(lower - upper, axis=-1) / host.scale[:, None] - mouth.gap_on_host


def _draw_anatomy(mouth: PreparedMouth, motion: FaceMotion, window: Window) -> torch.Tensor:
    """(B, 4, h, w) colour times coverage, and coverage, 0…1, of teeth, gums and tongue in a window."""
    anatomy, host = load_anatomy(), motion.host
    batch, height, width = window.index.shape
    vertices, normals, depths = _placed(mouth, host)
    turned = vertices @ host.rotation.swapaxes(1, 2) * host.scale[:, None, None]
    shift = (host.translation[:, :2] - window.corner).astype(np.float32)
    turned[..., :2] += shift[:, None]

    # Triangles of which a corner lies in or near the opening, and which face the viewer.
    near = _near_opening(turned, host.posed[..., :2] - window.corner[:, None], REACH * host.scale[:, None])
    candidates = near.any(0)[anatomy.triangles].any(1)
    triangles = anatomy.triangles[candidates]
    (a_x, a_y), (b_x, b_y), (c_x, c_y) = (np.moveaxis(turned[:, triangles[:, at], :2], -1, 0) for at in range(3))
    shown = (b_x - a_x) * (c_y - a_y) - (b_y - a_y) * (c_x - a_x) < 0
    shown &= near[:, triangles].any(2)
    drawn = np.flatnonzero(shown.any(0))
    if not len(drawn):
        return torch.zeros(batch, 4, height, width, device=motion.posed.device)
    used, triangles = np.unique(triangles[drawn], return_inverse=True)
    colours = _vertex_colours(mouth, host, used, normals[:, used], depths[:, used])
    places = turned[:, used] * OVERSAMPLING
    places[..., :2] += (OVERSAMPLING - 1) / 2
    values = upload(np.concatenate([places, colours.clip(DARKEST)], -1, dtype=np.float32), motion.posed.device)
    picture = rasterize(
        values[..., :2],
        values[..., 2],
        upload(triangles.reshape(-1, 3), motion.posed.device),
        values[..., 3:],
        (height * OVERSAMPLING, width * OVERSAMPLING),
        upload(shown[:, drawn], motion.posed.device),
    ).permute(0, 3, 1, 2)
    picture = picture.contiguous()
    coverage = (picture[:, :1] > 0.5 * DARKEST).float()
    return torch.cat([_smaller(picture), _smaller(coverage)], 1)


def _smaller(picture: torch.Tensor) -> torch.Tensor:
    """(B, C, h / 2, w / 2) means of 4 × 4 pixels of a picture (B, C, h, w): as soft as a camera's pixels are.

    Sums of slices, three times as fast as average pooling.
    """
    wide = F.pad(picture, (1, 1, 1, 1))
    rows = wide[:, :, 0::2] + wide[:, :, 1::2]
    rows = rows[:, :, 1:] + rows[:, :, :-1]
    columns = rows[..., 0::2] + rows[..., 1::2]
    return (columns[..., 1:] + columns[..., :-1]) / 16


def _blurred(picture: torch.Tensor, sigma: float) -> torch.Tensor:
    """A picture (B, C, h, w) blurred by a Gaussian of that standard deviation in pixels."""
    reach = math.ceil(3 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=picture.device) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(picture.shape[1], 1, 1, -1)
    wide = F.pad(picture, (reach,) * 4, mode="replicate")
    groups = picture.shape[1]
    return F.conv2d(F.conv2d(wide, kernel, groups=groups), kernel.mT, groups=groups)


def _near_opening(points: np.ndarray, landmarks: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """(B, V) which points (B, V, 2 or 3) lie between the lips of landmarks (B, 478, 2), or within a reach (B, 1)."""
    between = []
    for number, (x, y) in enumerate(np.moveaxis(points[..., :2], -1, 1)):
        curves = [landmarks[number, list(lip)] for lip in (INNER_UPPER_LIP, INNER_LOWER_LIP)]
        above, below = (np.interp(x, *curve[curve[:, 0].argsort()].T) for curve in curves)
        left, right = curves[0][:, 0].min(), curves[0][:, 0].max()
        margin = reach[number]
        between.append((y > above - margin) & (y < below + margin) & (x > left - margin) & (x < right + margin))
    return np.stack(between)


def _placed(mouth: PreparedMouth, host: HostMotion) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normalized places and normals (B, V, 3) of the anatomy's vertices, and depths (B, V) behind the incisors."""
    anatomy = load_anatomy()
    rest = mouth.photo.host.normalized
    gap = _lips_apart(host) / MILLIMETRE
    chin, lip = ((host.normalized - rest)[:, list(points), 1].mean(1) for points in (CHIN_POINTS, INNER_LOWER_LIP[3:8]))
    dropped = np.maximum(CHIN_SHARE * chin, np.maximum(LIP_SHARE * lip, lip - LIP_REACH))
    dropped = (dropped + mouth.jaw).clip(0)
    raised, between = host.tongue.T
    dropped = np.maximum(dropped, between * TEETH_APART * MILLIMETRE)
    angle = (dropped + JAW_AT_REST) / (mouth.hinge[1] - mouth.origin[2])

    # The tongue rises from its root to its tip.
    closed = 1 - smoothstep(dropped / MILLIMETRE, 3.0, 9.0)
    rest = TONGUE_AT_REST + TONGUE_RISE * closed * smoothstep(gap, 1.5, 4.0)
    said = raised + between
    above = np.outer(raised, TONGUE_RAISED) + np.outer(between, TONGUE_BENEATH)
    above[:, 0] -= (1 - said) * rest + said * (dropped + JAW_AT_REST) / mouth.millimetre
    below = np.outer(between, TONGUE_OVER)
    below[:, 0] -= (1 - between) * rest
    underside = (anatomy.vertices[:, 1:2] / TONGUE_THICKNESS).clip(0, 1)
    front = smoothstep(-anatomy.vertices[:, 2:], -TONGUE_ROOT, -TONGUE_FRONT) * (anatomy.part == TONGUE)[:, None]
    vertices = np.repeat(anatomy.vertices[None], len(angle), 0)
    vertices[..., 1:] += (above[:, None] + underside * (below - above)[:, None]) * front
    depths = vertices[..., 2].clip(0) * mouth.millimetre
    vertices = vertices * np.float32(mouth.millimetre) + mouth.origin

    turn = angle[:, None] * anatomy.jaw
    sine, cosine = np.sin(turn), np.cos(turn)
    normals = np.repeat(anatomy.normals[None], len(angle), 0)
    for vectors, axis in ((vertices, mouth.hinge), (normals, np.zeros(2, np.float32))):
        y, z = vectors[..., 1] - axis[0], vectors[..., 2] - axis[1]
        vectors[..., 1], vectors[..., 2] = cosine * y - sine * z + axis[0], sine * y + cosine * z + axis[1]
    return vertices, normals, depths


def _vertex_colours(
    mouth: PreparedMouth, host: HostMotion, used: np.ndarray, normals: np.ndarray, depths: np.ndarray
) -> np.ndarray:
    """(B, N, 3) colours in the photo's light of the anatomy's vertices that are used (N,).

    ``normals`` (B, N, 3) and ``depths`` (B, N) are those of ``_placed``.
    """
    inwards = INWARDS_SHADE * smoothstep(normals[..., 2], *INWARDS)
    normals = normals @ host.rotation.swapaxes(1, 2)
    anatomy, colours = load_anatomy(), mouth.colours
    part, crown = anatomy.part[used], anatomy.crown[used]
    neck = smoothstep(crown, 0.75, 0.3)[:, None]
    enamel = colours.enamel + neck * (colours.neck - colours.enamel)
    flesh = np.where((part == TONGUE)[:, None], colours.tongue, colours.gums)
    albedo = np.where((part == TOOTH)[:, None], enamel, flesh)

    gap = _lips_apart(host)[:, None]
    reach = np.where(part == TONGUE, TONGUE_FADE, FADE) + FADE_BY_GAP * gap
    fade = np.exp(-((depths / reach) ** 1.5)) * _light_between(mouth, host)[:, None]
    crevices, least = (np.array([each[kind] for kind in range(3)])[part] for each in (CREVICES, FACING_AWAY))
    facing = least + (1 - least) * (-normals[..., 2]).clip(0)
    open_to_light = anatomy.light[used] ** crevices
    open_to_light = open_to_light + (1 - open_to_light) * (part == TONGUE) * smoothstep(depths, TONGUE_OUT, 0.0)
    light = open_to_light * facing * fade * mouth.light.on(normals)
    light = light * (1 - inwards)
    depiction = colours.depiction
    flatness = CARTOON_FLATNESS * depiction.cartoon * (part == TOOTH)
    light = light + flatness * (fade - light)
    light = colours.shade + (1 - colours.shade) * light
    reflected = (normals @ mouth.light.highlight).clip(0)
    strength, sharpness = (np.array([GLOSS[kind][number] for kind in range(3)])[part] for number in range(2))
    dry = max(depiction.stone, depiction.varnish, depiction.cartoon)
    gloss = (1 - dry) * strength * reflected**sharpness * fade * float(colours.enamel.mean())
    return albedo * light[..., None] ** colours.reddening + gloss[..., None]


def _light_between(mouth: PreparedMouth, host: HostMotion) -> np.ndarray:
    """(B,) how much light falls in between the lips, 0…1: rounded ones, further in front of the teeth, shade them."""
    corners = [INNER_UPPER_LIP[0], INNER_UPPER_LIP[-1]]
    width, at_rest = (
        np.linalg.norm(np.subtract(*np.moveaxis(face[:, corners], 1, 0)), axis=-1)
        for face in (host.normalized, mouth.photo.host.normalized)
    )
    return 1 - ROUNDED_SHADE * smoothstep(1 - width / at_rest, *ROUNDED)


def _lips_apart(host: HostMotion) -> np.ndarray:
    """(B,) how far the middles of the lips are apart, normalized."""
    return (host.normalized[:, INNER_LOWER_LIP[5], 1] - host.normalized[:, INNER_UPPER_LIP[5], 1]).clip(0)


def _teeth_in_photo(picture: torch.Tensor, photo: FaceMotion, lips: torch.Tensor) -> torch.Tensor:
    """(1, 1, 640, 640) where a photo with an open mouth and lips of that colour shows its upper teeth, 0…1."""
    curves = (photo.posed[:, list(lip), :2] for lip in (INNER_UPPER_LIP, INNER_LOWER_LIP))
    opening = opening_mask(*curves, pixels_of(picture))
    brightest, darkest = picture.amax(1), picture.amin(1)
    saturation = (brightest - darkest) / brightest.clamp(min=0.05)
    tooth = smoothstep(picture.mean(1) / lips.mean(), *TOOTH_BRIGHTNESS) * smoothstep(saturation, *TOOTH_SATURATION)
    tooth = F.avg_pool2d(F.max_pool2d(tooth, 5, 1, 2), 3, 1, 1)  # the gaps between teeth belong to them
    reach = UPPER_TEETH_REACH * float(photo.scale)
    # A pixel or two next to the lips are as much lip as tooth.
    clear = smoothstep(opening.below_upper, 0.5, 2.0) * smoothstep(opening.above_lower, 0.5, 2.0)
    teeth = opening.coverage * tooth * clear * smoothstep(opening.below_upper, reach, 0.8 * reach)
    if float(teeth.sum()) < LEAST_SHARE_OF_TEETH * float(opening.coverage.sum()):
        return torch.zeros_like(teeth)[:, None]
    return teeth[:, None]


def _lower_edge(teeth: torch.Tensor, photo: FaceMotion, depth: float) -> float:
    """Normalized y of the edge of the photo's upper incisors."""
    rows = (teeth[0, 0] > 0.5 * teeth.max()).nonzero()[:, 0].float()
    bottom = torch.quantile(rows, 0.9)
    middle = photo.posed[:, INNER_UPPER_LIP[5], 0]
    return float(photo.unproject(torch.stack([middle, bottom[None]], -1)[:, None, None], depth)[..., 1])


def _on_arch(motion: FaceMotion, pixels: torch.Tensor, depth: float) -> torch.Tensor:
    """(B, h, w, 3) normalized places of the dental arch seen at pixels (B, h, w, 2), its middle at the given depth."""
    behind = torch.zeros_like(pixels[..., 0])
    for _ in range(3):
        seen = motion.unproject(pixels, depth + behind)
        behind = ARCH * seen[..., 0].clamp(-0.35, 0.35) ** 2
    return torch.cat([seen, (depth + behind)[..., None]], -1)
