"""The page's theme, style sheet and scripts."""

from pathlib import Path

import gradio as gr

STYLE = """
.dark {--color-accent: var(--primary-400);}
.gradio-container {max-width: 1280px !important; margin: auto;}
#header {align-items: center; flex-wrap: wrap;}
#header > .block {flex: 1 1 17rem;}
#header p {margin-top: 0.25rem;}
#theme {flex-grow: 0; min-width: 9rem;}
/* While Gradio finds out how many tabs have room, they must not make a phone's page wider. */
.tab-wrapper {contain: inline-size; margin-bottom: 0.5rem;}
/* Gradio takes away what shows where the keyboard is. */
input:is([type="range"], [role="combobox"]):focus-visible {
  outline: 2px solid var(--color-accent) !important; outline-offset: 4px;
}
input[type="range"]::-webkit-slider-thumb {border: 1px solid var(--input-border-color);}
input[type="range"]::-moz-range-thumb {border: 1px solid var(--input-border-color);}
.dark input[type="range"] {--neutral-200: var(--neutral-500);}  /* what is left of a slider's track */
input[type="range"] {min-width: 0;}  /* its numbers stay in its card */
/* Gradio's icons and times are too faint to be seen, icons also too small to be tapped, and don't say what they do. */
button.icon:not(.selected, :hover, :focus) {color: var(--body-text-color-subdued) !important;}
button.icon, button.icon-button {min-width: 24px; min-height: 24px;}
.timestamps time:not(#trim-duration) {color: var(--body-text-color-subdued) !important;}
.source-selection button.icon {display: flex; align-items: center; gap: 0.3rem; width: auto;}
.source-selection svg {width: 16px; height: 16px;}
button[aria-label="Upload file"]::after {content: "Upload";}
button[aria-label="Record audio"]::after {content: "Record";}
button[aria-label="Capture from camera"]::after {content: "Camera";}
button[aria-label="Paste from clipboard"]::after {content: "Paste";}
@media (min-width: 641px) and (max-width: 1100px) {#photo .source-selection button::after {display: none;}}
#found img {object-fit: contain;}
#photo img[data-unshown] {display: none;}
#photo :has(> img[data-unshown])::before {
  content: "The browser can't show this file."; color: var(--body-text-color-subdued);
  position: absolute; inset: 0; display: grid; place-items: center; pointer-events: none;
}
#note p, .device-missing {margin: 0;}
#note:not(:has(p)) {margin-bottom: calc(-1 * var(--layout-gap));}
/* Small until it is used, so that a laptop's first sight has the examples and the button that starts. */
#speech .upload-container .wrap {min-height: 6.5rem;}
#spoken:has(.empty):not(:has(> .wrap:not(.hide))) {display: none;}
.player .html-container {padding: 0;}
.player .stage {
  min-height: 240px; scroll-margin: 0.5rem; background: var(--block-background-fill); border-radius: var(--radius-lg);
  border: var(--block-border-width) solid var(--block-border-color);
}
.player .stage:is(.used, :has(video:not([hidden]))) {min-height: 550px;}
.player .stage:has(video[hidden]) {display: grid; place-items: center;}
.player .stage:has(video:not([hidden])) span {position: absolute; clip-path: inset(50%); width: 1px; height: 1px;}
.player span {color: var(--body-text-color-subdued);}
.player video {width: 100%; height: 512px; object-fit: contain;}
.player a:not([hidden]) {display: inline-block; margin: 0.4rem;}
.player button:not([hidden]) {
  all: unset; margin: 0.4rem; color: var(--link-text-color); text-decoration: underline; cursor: pointer;
}
.player button:focus-visible {outline: 2px solid var(--color-accent);}
.player .earlier:not([hidden]) {display: flex; flex-wrap: wrap; align-items: baseline; margin-top: 0.4rem;}
.player .about {margin: 0;}
.player .about:not(:empty) {margin-top: 0.5rem;}
.summary {min-height: 4.5rem;}
/* It is of the newest film; the player has that of another one that is shown. */
.tabitem:has(.stage.of-another) .summary .prose {display: none;}
.summary .error {white-space: normal; border-radius: var(--radius-lg);}
.stopped .summary .wrap:has(.error) {display: none;}
/* The number of frames, which would lie on the bar. */
.summary .wrap:has(.progress-level) .progress-text {display: none;}
/* Behind the only link. */
footer .divider {display: none;}
#connection-lost {
  position: fixed; top: 0; left: 0; right: 0; z-index: 1000; padding: 0.6rem; text-align: center;
  background: #b91c1c; color: white;
}
@media (min-width: 641px) {a[href="#examples"] {display: none;}}
@media (max-width: 640px) {
  .player .stage:is(.used, :has(video:not([hidden]))) {min-height: 340px;}
  .player video {height: 300px;}
  #found:has(.empty) {display: none;}
  .start {flex-wrap: nowrap;}
  .start > button {min-width: 0;}
}
/* Gradio would fetch a program for this from elsewhere. */
button[title="Trim video to selection"], button[title="Reset video to initial value"] {display: none;}
"""

# Gradio applies CSS only within the page's margins; narrower ones leave room for a window of 320 pixels.
_NARROW = "<style>@media (max-width: 640px) {.gradio-container > .main {padding-inline: 12px !important;}}</style>"

# What a player consists of, see ``player.js``.
PLAYER = """<div class="stage">
<video controls playsinline hidden aria-label="Talking portrait"></video>
<a download hidden>Download the video</a>
<button type="button" hidden>Share it</button>
<span role="status">The video will play here.</span>
</div>
<div class="earlier" hidden></div>
<p class="about"></p>"""
DROP_MESSAGES = "() => spaceDropMessages()"
_SCRIPTS = [
    Path(__file__).with_name(name).read_text(encoding="utf-8")
    for name in (
        "player.js",
        "plain_messages.js",
        "connection.js",
        "devices.js",
        "unshown_photo.js",
        "accessible_names.js",
    )
]


# Gradio sets the body's background once, as the visitor's system has it.
SWITCH_THEME = """() => {
  document.body.classList.toggle('dark');
  document.body.style.background = 'var(--body-background-fill)';
}"""

# Colours with a contrast of at least 4.5 to what is behind them, and edges of what can be operated with one of 3 (WCAG
# 2.2, level AA), which those of the theme lack: its light cards, fields and handles are white on white.
_THEME = gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]).set(
    body_background_fill="*neutral_50",
    block_border_width="1px",
    block_border_color="*neutral_200",
    input_border_width="1px",
    input_border_color="*neutral_500",
    input_border_color_dark="*neutral_500",
    input_placeholder_color="*neutral_500",
    input_placeholder_color_dark="*neutral_300",
    checkbox_border_color="*neutral_500",
    checkbox_border_color_dark="*neutral_400",
    body_text_color_subdued="*neutral_500",
    body_text_color_subdued_dark="*neutral_400",
    block_label_text_color="*primary_700",
    block_title_text_color="*primary_700",
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
    button_primary_background_fill_hover_dark="*primary_700",
    button_secondary_background_fill_dark="*neutral_700",
    button_secondary_background_fill_hover_dark="*neutral_600",
    checkbox_label_background_fill_selected="*primary_600",
    color_accent="*primary_600",
    link_text_color_dark="*primary_300",
)

# As ``gr.mount_gradio_app`` takes it.
APPEARANCE = {
    "theme": _THEME,
    "css": STYLE,
    "head": _NARROW + "".join(f"<script>{script}</script>" for script in _SCRIPTS),
}


def player_script(player: str, method: str) -> str:
    """A script that calls a method of the player in the element of an id with the values given; see ``player.js``."""
    return f"(...values) => {{ spacePlayer('#{player}').{method}(...values); }}"
