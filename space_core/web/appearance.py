"""The page's theme, style sheet and scripts."""

import gradio as gr

STYLE = """
.gradio-container {max-width: 1280px !important; margin: auto;}
#header {align-items: center;}
#theme {flex-grow: 0; min-width: 9rem;}
#found img {object-fit: contain;}
#note p {margin: 0;}
@media (max-width: 640px) {#result {height: 340px !important;}}
/* Gradio would fetch a program for this from elsewhere. */
button[title="Trim video to selection"], button[title="Reset video to initial value"] {display: none;}
"""

# A film that takes the place of its opening starts at the time that the opening has reached.
_CONTINUE_FROM_OPENING = """<script>
(() => {
  let reached = 0, opening = false;
  const isResult = (event) => event.target.matches?.('#result video');
  document.addEventListener('timeupdate', (event) => {
    if (isResult(event)) { reached = event.target.currentTime; opening = event.target.currentSrc.includes('opening'); }
  }, true);
  document.addEventListener('loadedmetadata', (event) => {
    if (!isResult(event)) return;
    const now = event.target.currentSrc.includes('opening');
    if (opening && !now && reached > 0.3) { event.target.currentTime = reached; }
    if (!now) { opening = false; reached = 0; }
  }, true);
})();
</script>"""

# On a phone the film lies below the button.
SCROLL_TO_RESULT = """() => {
  setTimeout(() => document.querySelector('#result').scrollIntoView({block: 'nearest'}), 500);
}"""

# Gradio sets the body's background once, as the visitor's system has it.
SWITCH_THEME = """() => {
  document.body.classList.toggle('dark');
  document.body.style.background = 'var(--body-background-fill)';
}"""

# As ``gr.mount_gradio_app`` takes it.
APPEARANCE = {
    "theme": gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
    "css": STYLE,
    "head": _CONTINUE_FROM_OPENING,
}
