"""The curves of a film as one picture, on one axis of time."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from space_core.motion.curves import Curves
from space_core.motion.emotion_labels import EMOTIONS

MAX_POINTS = 1500  # of a curve; the picture has no room for more
INK = "#8a8f98"  # readable on a light page and on a dark one
COLOURS = ("#6366f1", "#f59e0b", "#10b981", "#ef4444", "#06b6d4", "#a855f7", "#84cc16", "#ec4899")


def plot_curves(curves: Curves) -> Figure:
    """Speech, lips, head, eyes and emotion over the seconds of a film; the background is transparent."""
    every = -(-len(curves.seconds) // MAX_POINTS)
    seconds = curves.seconds[::every]
    shown_emotions = [index for index in range(len(EMOTIONS)) if curves.emotion[:, index].any()]
    panels = {
        "lips": {"opening": curves.lip_opening},
        "head, °": {"yaw": curves.yaw, "pitch": curves.pitch, "roll": curves.roll},
        "gaze, °": {"yaw": curves.gaze_yaw, "pitch": curves.gaze_pitch},
        "blink": {"0 open, 1 shut": curves.blink},
        "emotion": {EMOTIONS[index]: curves.emotion[:, index] for index in shown_emotions},
    }
    figure = Figure(figsize=(7.2, 7.2), layout="constrained")
    figure.patch.set_alpha(0)
    speech, *axes = figure.subplots(1 + len(panels), 1, sharex=True)
    loudness = curves.loudness[::every]
    speech.fill_between(seconds, -loudness, loudness, color=COLOURS[0], alpha=0.6, linewidth=0)
    speech.set_yticks([])
    _style(speech, "speech")
    for axis, (name, lines) in zip(axes, panels.items(), strict=True):
        for (label, line), colour in zip(lines.items(), COLOURS, strict=False):
            axis.plot(seconds, line[::every], color=colour, linewidth=1.3, label=label)
        _style(axis, name)
        if lines:
            above = {"loc": "lower right", "bbox_to_anchor": (1, 0.97), "borderaxespad": 0}  # not over the curves
            axis.legend(**above, fontsize=7, frameon=False, labelcolor=INK, ncols=len(lines))
    for axis in axes[-2:]:  # their scale begins at 0 and has 1, whatever is shown
        axis.set_ylim(-0.05, max(1.05, axis.get_ylim()[1]))
    axes[-1].set_xlabel("seconds", color=INK, fontsize=9)
    axes[-1].set_xlim(0, max(float(np.max(seconds)), 0.1))
    return figure


def _style(axis: Axes, name: str) -> None:
    axis.patch.set_alpha(0)
    axis.set_ylabel(name, color=INK, fontsize=9)
    axis.tick_params(colors=INK, labelsize=8)
    axis.grid(alpha=0.25)
    for spine in axis.spines.values():
        spine.set_color(INK)
        spine.set_alpha(0.4)
