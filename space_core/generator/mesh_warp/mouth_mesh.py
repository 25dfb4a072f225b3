"""Teeth, gums, palate and tongue of some frames: where jaw and tongue are, how they are lit, and their picture.

The upper jaw belongs to the skull, the lower one turns about its hinge with the chin and carries the tongue.
Lengths are normalized, see ``prepared_mouth``.
"""

import numpy as np
import torch
from torch.nn import functional as F

from space_core.arrays import smoothstep
from space_core.face.topology import INNER_LOWER_LIP, INNER_UPPER_LIP
from space_core.generator.mesh_warp.anatomy import GUM, MILLIMETRE, TONGUE, TOOTH, load_anatomy
from space_core.generator.mesh_warp.face_motion import FaceMotion, HostMotion, upload
from space_core.generator.mesh_warp.mouth_light import FLESH_REDDENING, REDDENING, MouthColours
from space_core.generator.mesh_warp.opening_mask import Window
from space_core.generator.mesh_warp.prepared_mouth import JAW_AT_REST, PreparedMouth
from space_core.generator.mesh_warp.rasterizer import rasterize

CHIN_POINTS = (152, 148, 377, 175, 171, 396, 199)  # the skin over the chin bone, which goes where the jaw goes
CHIN_SHARE = 0.8  # of the way of the skin over the chin, the lower incisors go
LIP_REACH = 3 * MILLIMETRE  # the lower lip goes at most so much further than they
LIPS_WIDE = (10 * MILLIMETRE, 17 * MILLIMETRE)  # from so far apart they begin to count as wide open … do so fully
NEARER_IF_WIDE = 0.5 * MILLIMETRE  # by so much the lower incisors then follow the lip more closely

# The tongue lies behind the lower incisors. It rises where lips are parted by a jaw that is nearly closed, as for /s/;
# millimetres.
TONGUE_AT_REST = 3.5
TONGUE_RISE = 3.0
TONGUE_ROOT, TONGUE_FRONT = 34.0, 14.0  # depths between which the tongue's rise begins
TONGUE_THICKNESS = 6.0  # of its tip
# Between wide open lips its upper side arches by that share of how far they are apart, and so much at most, from the
# first depths to the second, and less towards this distance from its middle.
ARCHED, MOST_ARCHED, ARCH_RISES, ARCH_ENDS, ARCH_SIDES = 0.5, 13.0, (8.0, 24.0), (46.0, 34.0), 20.0
# There it is lit by that much more, as long as its colour stays within that share of the teeth's in red, green or blue,
# which in pictures without colour is less; all of it at the second of these depths, none at the first.
TONGUE_LIT, TONGUE_LIT_MOST, TONGUE_LIT_AT = 0.4, (0.76, 0.58), (24 * MILLIMETRE, 8 * MILLIMETRE)
# By how much speech moves the tongue's front down and back: its upper side to the roots of the upper incisors, beside
# what the jaw has dropped; and its upper side beneath their edges, as far beside that, and its underside over the lower
# incisors.
TONGUE_RAISED, TONGUE_BENEATH, TONGUE_OVER = (-7.0, -3.0), (-1.5, -13.0), (-8.5, -11.0)
TEETH_APART = 4.5  # at least, where the tongue is between them
TONGUE_SIDES, TONGUE_SIDES_SHADE = (5.0, 14.0), 0.25  # from its middle to its sides, between teeth and cheeks; of light
# From canines to molars, cheeks and the lips' corners shade lower teeth, and upper ones beside the photo's own, where
# they would stand out: by a share of light, and by the second one more between lips that are apart by these distances.
UPPER_SIDES, UPPER_SIDES_SHADE = (6.0, 18.0), (0.15, 0.15)
LOWER_SIDES, LOWER_SIDES_SHADE = (11.0, 19.0), (0.25, 0.35)
SHADE_BY_GAP = (4 * MILLIMETRE, 14 * MILLIMETRE)
NECK = (0.55, 0.15)  # heights of a tooth between which its neck begins
# Light scatters in enamel and between the rows, so how far a tooth faces up or down matters less than to its sides.
UPRIGHT = np.array([1.0, 0.3, 1.0], np.float32)
# Rows of teeth that nearly touch, by the way of the jaw, keep light from the flesh behind them, at these depths.
ROWS_APART, BEHIND_ROWS, BEHIND_ROWS_SHADE = (1.5 * MILLIMETRE, 6 * MILLIMETRE), (1 * MILLIMETRE, 4 * MILLIMETRE), 0.6
TONGUE_OUT = 8 * MILLIMETRE  # depth from which on a tongue that comes forward is lit like what is in front of the teeth

# Drawn upper teeth give way to a photo's own between these distances from its row's ends, by that much; millimetres.
ROW_BEGINS, ROW_HIDDEN = (-1.0, 1.0), 9.0

CARTOON_FLATNESS = 0.85  # of the light's differences on and between a cartoon's teeth, and on its tongue, are left out
OVERSAMPLING = 2
REACH = 0.04  # normalized; triangles with all corners further from the opening do not show in it
DARKEST = 1 / 512  # colour of what is drawn, at least; what is darker is not drawn

# Depth behind the incisors at which a closed mouth's light has fallen to 1 / e; the tongue lies open to it, and so do
# upper teeth but those beside the photo's own, as lips are close to them up to the corners.
FADE, TONGUE_FADE, UPPER_FADE = 17 * MILLIMETRE, 24 * MILLIMETRE, 35 * MILLIMETRE
FADE_BY_GAP = 0.6  # and that much further for every unit by which the lips are apart
# Exponents of the light that reaches a vertex, and what is left of it on a surface that faces away from the viewer:
# light scatters in flesh, and still more in enamel, so that the gaps between teeth are hardly darker than they.
CREVICES, FACING_AWAY = {TOOTH: 0.55, GUM: 0.75, TONGUE: 0.75}, {TOOTH: 0.85, GUM: 0.45, TONGUE: 0.8}
# Light comes in from the front: what faces back into the mouth, by the z of its normal, is kept from so much of it.
INWARDS, INWARDS_SHADE = (-0.1, 0.4), 0.75
ROUNDED, ROUNDED_SHADE = (0.05, 0.3), 0.35  # shares of the width at rest by which rounded mouths are narrower; of light
WIDEST_AT_REST = 0.6  # normalized width of a mouth; wider ones smile
# Smiles show the upper incisors: where the mouth is wider than at rest by these factors, that much of them at least. As
# far as the upper lip has not risen for it, all of what is drawn is put lower, by the last of these at most.
SMILE, SMILE_SHOWS, LOWER_IN_SMILE = (1.1, 1.3), 6.5 * MILLIMETRE, 2.5 * MILLIMETRE
# Few show more than a narrow strip of gum: a lip that rises further than the first of these above the incisors' edge
# takes them along, by the second at most.
MOST_SHOWN, HIGHER = 9.2 * MILLIMETRE, 3.5 * MILLIMETRE
GLOSS = {TOOTH: (0.22, 30.0), GUM: (0.14, 14.0), TONGUE: (0.12, 10.0)}  # strength and sharpness of the wet highlight


def draw_mouth_mesh(mouth: PreparedMouth, motion: FaceMotion, window: Window) -> torch.Tensor:
    """(B, 4, h, w) colour times coverage, and coverage, 0…1, of teeth, gums and tongue in a window."""
    anatomy, host = load_anatomy(), motion.host
    batch, height, width = window.index.shape
    dropped = _jaw_dropped(mouth, host)
    turn = _jaw_turn(mouth, dropped)
    vertices, depths = _placed(mouth, host, dropped, turn)
    turned = vertices @ host.rotation.swapaxes(1, 2) * host.scale[:, None, None]
    shift = (host.translation[:, :2] - window.corner).astype(np.float32)
    turned[..., :2] += shift[:, None]

    # Triangles of which a corner lies in or near the opening, and which face the viewer.
    near = _near_opening(turned, host.posed[..., :2] - window.corner[:, None], REACH * host.scale[:, None])
    candidates = np.any(near, 0)[anatomy.triangles].any(1)
    if mouth.colours.depiction.cartoon > 0.5:  # one band of teeth, and the tongue
        of_lower_row = (anatomy.jaw > 0.5) & (anatomy.part != TONGUE)
        candidates &= ~of_lower_row[anatomy.triangles].any(1)
    triangles = anatomy.triangles[candidates]
    (a_x, a_y), (b_x, b_y), (c_x, c_y) = (np.moveaxis(turned[:, triangles[:, at], :2], -1, 0) for at in range(3))
    shown = (b_x - a_x) * (c_y - a_y) - (b_y - a_y) * (c_x - a_x) < 0
    shown &= near[:, triangles].any(2)
    drawn = np.flatnonzero(shown.any(0))
    if not len(drawn):
        return torch.zeros(batch, 4, height, width, device=motion.posed.device)
    used, triangles = np.unique(triangles[drawn], return_inverse=True)
    normals = anatomy.normals[used, None].repeat(batch, 1).swapaxes(0, 1)
    _turn_with_jaw(normals, turn, anatomy.jaw[used], np.zeros(2, np.float32))
    colours = _vertex_colours(mouth, host, used, normals, depths[:, used], dropped)
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


def _placed(
    mouth: PreparedMouth, host: HostMotion, dropped: np.ndarray, turn: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Normalized places (B, V, 3) of the anatomy's vertices, and depths (B, V) behind the incisors.

    ``dropped`` (B,) and ``turn`` (B,) are what ``_jaw_dropped`` and ``_jaw_turn`` give.
    """
    anatomy = load_anatomy()
    gap = _lips_apart(host) / MILLIMETRE
    raised, between = host.tongue.T

    # The tongue rises from its root to its tip.
    closed = 1 - smoothstep(dropped / MILLIMETRE, 3.0, 9.0)
    rest = TONGUE_AT_REST + TONGUE_RISE * closed * smoothstep(gap, 1.5, 4.0)
    said = raised + between
    above = np.outer(raised, TONGUE_RAISED) + np.outer(between, TONGUE_BENEATH)
    above[:, 0] -= (1 - said) * rest + said * (dropped + JAW_AT_REST) / mouth.millimetre
    below = np.outer(between, TONGUE_OVER)
    below[:, 0] -= (1 - between) * rest
    # The photo's own teeth take the place of those that are drawn, which are behind the upper lip then.
    inside = (anatomy.vertices[:, :1] * mouth.millimetre + mouth.origin[0] - mouth.row) * np.array([1, -1], np.float32)
    hidden = smoothstep(inside.min(1) / MILLIMETRE, *ROW_BEGINS) * ((anatomy.part == TOOTH) & (anatomy.jaw < 0.5))
    underside = (anatomy.vertices[:, 1:2] / TONGUE_THICKNESS).clip(0, 1)
    vertices = np.repeat(anatomy.vertices[None], len(dropped), 0)
    tongue = np.flatnonzero(anatomy.part == TONGUE)
    front = smoothstep(-anatomy.vertices[tongue, 2:], -TONGUE_ROOT, -TONGUE_FRONT)
    vertices[:, tongue, 1:] += (above[:, None] + underside[tongue] * (below - above)[:, None]) * front
    arched = (ARCHED * gap).clip(max=MOST_ARCHED) * (1 - said) * _lips_wide(host)
    vertices[..., 1] -= ROW_HIDDEN * hidden + np.outer(arched, _arch(underside[:, 0]))
    depths = vertices[..., 2].clip(0) * mouth.millimetre
    vertices = vertices * np.float32(mouth.millimetre) + mouth.origin
    vertices[..., 1] += _lower_in_smile(mouth, host)[:, None]

    _turn_with_jaw(vertices, turn, anatomy.jaw, mouth.hinge)
    return vertices, depths


def _jaw_turn(mouth: PreparedMouth, dropped: np.ndarray) -> np.ndarray:
    """(B,) angle by which the lower jaw turns about its hinge; ``dropped`` (B,) is what ``_jaw_dropped`` gives."""
    return (dropped + JAW_AT_REST) / (mouth.hinge[1] - mouth.origin[2])


def _turn_with_jaw(vectors: np.ndarray, turn: np.ndarray, jaw: np.ndarray, axis: np.ndarray) -> None:
    """Turns vectors (B, N, 3) by ``turn`` (B,) times ``jaw`` (N,) about an axis along x at y and z (2,), in place."""
    shares, share_of = np.unique(jaw, return_inverse=True)  # few, and sines take long
    angle = turn[:, None] * shares
    sine, cosine = np.sin(angle)[:, share_of], np.cos(angle)[:, share_of]
    y, z = vectors[..., 1] - axis[0], vectors[..., 2] - axis[1]
    vectors[..., 1], vectors[..., 2] = cosine * y - sine * z + axis[0], sine * y + cosine * z + axis[1]


def _arch(underside: np.ndarray) -> np.ndarray:
    """(V,) how far the anatomy's vertices rise where the tongue arches, 0…1; ``underside`` (V,) do not."""
    anatomy = load_anatomy()
    x, _, z = anatomy.vertices.T
    along = smoothstep(z, *ARCH_RISES) * smoothstep(z, *ARCH_ENDS)
    return (anatomy.part == TONGUE) * (1 - underside) * along * (1 - (x / ARCH_SIDES) ** 4).clip(0)


def _lower_in_smile(mouth: PreparedMouth, host: HostMotion) -> np.ndarray:
    """(B,) how much lower teeth are than in speech without a smile, normalized; those that a photo shows stay."""
    if mouth.shows_teeth:
        return np.zeros(len(host.normalized), np.float32)
    shown = mouth.origin[1] - host.normalized[:, INNER_UPPER_LIP[5], 1]
    wanted = SMILE_SHOWS * smoothstep(_widened(mouth, host), *SMILE)
    return (wanted - shown).clip(0, LOWER_IN_SMILE) - (shown - MOST_SHOWN).clip(0, HIGHER)


def _jaw_dropped(mouth: PreparedMouth, host: HostMotion) -> np.ndarray:
    """(B,) how far the lower incisors have gone down from where they are at rest, normalized."""
    change = host.normalized - mouth.photo.host.normalized
    chin, lip = (change[:, list(points), 1].mean(1) for points in (CHIN_POINTS, INNER_LOWER_LIP[3:8]))
    dropped = np.maximum(CHIN_SHARE * chin, np.maximum(mouth.lip_share * lip, lip - LIP_REACH))
    dropped = dropped - NEARER_IF_WIDE * _lips_wide(host)
    return np.maximum((dropped + mouth.jaw).clip(0), host.tongue[:, 1] * TEETH_APART * MILLIMETRE)


def _vertex_colours(
    mouth: PreparedMouth,
    host: HostMotion,
    used: np.ndarray,
    normals: np.ndarray,
    depths: np.ndarray,
    dropped: np.ndarray,
) -> np.ndarray:
    """(B, N, 3) colours in the photo's light of the anatomy's vertices that are used (N,).

    ``normals`` (B, N, 3) and ``depths`` (B, N) are those of ``_placed``, ``dropped`` (B,) that of ``_jaw_dropped``.
    """
    colours, part, gap = mouth.colours, load_anatomy().part[used], _lips_apart(host)[:, None]
    upper = (part == TOOTH) & (load_anatomy().jaw[used] < 0.5) & (not mouth.has_teeth)
    reach = np.select([part == TONGUE, upper], [TONGUE_FADE, UPPER_FADE], FADE) + FADE_BY_GAP * gap
    in_shade = (1 - colours.depiction.cartoon) * ROUNDED_SHADE * lips_rounded(mouth, host)
    fade = np.exp(-((depths / reach) ** 1.5)) * (1 - in_shade)[:, None]
    light = _direct_light(mouth, host, used, normals, depths, fade)
    light = light * (1 - INWARDS_SHADE * smoothstep(normals[..., 2], *INWARDS))
    light = _shade_sides(light, used, gap, mouth.has_teeth)
    light = light * (1 - (1 - mouth.lower_light) * load_anatomy().jaw[used] * (part == TOOTH))
    depiction = colours.depiction
    touching = (1 - smoothstep(dropped, *ROWS_APART)) * (1 - depiction.cartoon)
    light = light * (1 - BEHIND_ROWS_SHADE * touching[:, None] * smoothstep(depths, *BEHIND_ROWS) * (part != TOOTH))
    flatness = CARTOON_FLATNESS * depiction.cartoon * (part != GUM)
    light = light + flatness * (fade - light)
    lit = _tongue_lit(colours) * smoothstep(depths, *TONGUE_LIT_AT) * _lips_wide(host)[:, None]
    light = light * (1 + lit * (part == TONGUE))
    light = colours.shade + (1 - colours.shade) * light
    reflected = (normals @ host.rotation.swapaxes(1, 2) @ mouth.light.highlight).clip(0)
    strength, sharpness = (np.array([GLOSS[kind][number] for kind in range(3)])[part] for number in range(2))
    dry = max(depiction.stone, depiction.varnish, depiction.cartoon)
    gloss = (1 - dry) * strength * reflected**sharpness * fade * float(colours.enamel.mean())
    reddening = 1 + np.where(part == TOOTH, 1, FLESH_REDDENING)[:, None] * (colours.reddening - 1)
    return _albedo(colours, used) * light[..., None] ** reddening + gloss[..., None]


def _albedo(colours: MouthColours, used: np.ndarray) -> np.ndarray:
    """(N, 3) the colours of teeth, gums and tongue in full light, of the vertices that are used (N,)."""
    anatomy = load_anatomy()
    part = anatomy.part[used]
    neck = smoothstep(anatomy.crown[used], *NECK)[:, None]
    enamel = colours.enamel + neck * (colours.neck - colours.enamel)
    flesh = np.where((part == TONGUE)[:, None], colours.tongue, colours.gums)
    return np.where((part == TOOTH)[:, None], enamel, flesh)


def _direct_light(
    mouth: PreparedMouth, host: HostMotion, used: np.ndarray, normals: np.ndarray, depths: np.ndarray, fade: np.ndarray
) -> np.ndarray:
    """(B, N) the light that falls in from the front and fades by ``fade`` (B, N), as in ``_vertex_colours``."""
    anatomy, rotation = load_anatomy(), host.rotation.swapaxes(1, 2)
    part = anatomy.part[used]
    upright = normals * np.where((part == TOOTH)[:, None], UPRIGHT, np.float32(1))
    upright = (upright / np.linalg.norm(upright, axis=-1, keepdims=True)) @ rotation
    crevices, least = (np.array([each[kind] for kind in range(3)])[part] for each in (CREVICES, FACING_AWAY))
    facing = least + (1 - least) * (-(normals @ rotation)[..., 2]).clip(0)
    open_to_light = anatomy.light[used] ** crevices
    open_to_light = open_to_light + (1 - open_to_light) * (part == TONGUE) * smoothstep(depths, TONGUE_OUT, 0.0)
    return open_to_light * facing * fade * mouth.light.on(upright)


def _shade_sides(light: np.ndarray, used: np.ndarray, gap: np.ndarray, beside_own: bool) -> np.ndarray:
    """(B, N) light (B, N) less what cheeks and lower lip keep from the sides, between lips ``gap`` (B, 1) apart.

    ``beside_own`` says whether the middle of the upper row is the photo's own.
    """
    anatomy = load_anatomy()
    part, jaw, side = anatomy.part[used], anatomy.jaw[used], abs(anatomy.vertices[used, 0])
    aside = smoothstep(side, *TONGUE_SIDES) * (part == TONGUE)
    light = light * (1 - TONGUE_SIDES_SHADE * aside)
    apart = smoothstep(gap, *SHADE_BY_GAP)
    upper, lower = (
        (base + more * apart) * smoothstep(side, *sides)
        for (base, more), sides in ((UPPER_SIDES_SHADE, UPPER_SIDES), (LOWER_SIDES_SHADE, LOWER_SIDES))
    )
    upper = upper * beside_own
    return light * (1 - (upper + jaw * (lower - upper)) * (part != TONGUE))


def _tongue_lit(colours: MouthColours) -> float:
    """By which share of its light a tongue between wide open lips is lit more, up to ``TONGUE_LIT``, or less.

    Without colour, as in black-and-white photos, only its brightness tells it from teeth.
    """
    ratio = float((colours.tongue / colours.enamel.clip(0.05)).min())
    grey = float((colours.reddening[0] - REDDENING[0]) / (1 - REDDENING[0])) * (1 - colours.depiction.stone)
    most, grey_most = TONGUE_LIT_MOST
    lit = (most + grey * (grey_most - most)) / max(ratio, 0.05) - 1
    return float(np.clip(lit, -TONGUE_LIT * grey, TONGUE_LIT))


def lips_rounded(mouth: PreparedMouth, host: HostMotion) -> np.ndarray:
    """(B,) how far lips are rounded, 0…1: narrower than at rest, and so far forward that they shade the teeth."""
    return smoothstep(1 - _widened(mouth, host), *ROUNDED)


def _widened(mouth: PreparedMouth, host: HostMotion) -> np.ndarray:
    """(B,) the width of the mouth, relative to that at rest."""
    corners = [INNER_UPPER_LIP[0], INNER_UPPER_LIP[-1]]
    width, at_rest = (
        np.linalg.norm(np.subtract(*np.moveaxis(face[:, corners], 1, 0)), axis=-1)
        for face in (host.normalized, mouth.photo.host.normalized)
    )
    return width / at_rest.clip(max=WIDEST_AT_REST)


def _lips_apart(host: HostMotion) -> np.ndarray:
    """(B,) how far the middles of the lips are apart, normalized."""
    return (host.normalized[:, INNER_LOWER_LIP[5], 1] - host.normalized[:, INNER_UPPER_LIP[5], 1]).clip(0)


def _lips_wide(host: HostMotion) -> np.ndarray:
    """(B,) how far the lips are wide open, 0…1."""
    return smoothstep(_lips_apart(host), *LIPS_WIDE)
