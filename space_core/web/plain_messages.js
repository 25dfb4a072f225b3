// Gradio's message about a file of a wrong kind lists media types; visitors read what they can give instead. Every message
// has the title "Error", as the page asks for the server's by a misspelt name; it gets one in plain words. Messages vanish
// after a while; where a film would be, Gradio then says "Error" alone, and here why there is none.
(() => {
  const GRADIOS = /^Invalid file types?: (.*)\. Only (.*) allowed\.$/s;
  const ADVICE = {
    audio: 'is not a recording. A video goes under “From a video”, and its sound is used.',
    image: 'is not a picture. Use a JPEG, PNG or WebP.',
    video: 'is not a video. Use an MP4, MOV or WebM.',
  };

  const messages = () => [...document.querySelectorAll('.toast-message-text')];  // the newest is the last
  const dropped = new WeakSet();  // those of them that only fade away

  function replace(text) {
    const [, name, types] = GRADIOS.exec(text.nodeValue.trim()) ?? [];
    const advice = ADVICE[types?.split('/')[0]];
    if (advice) text.nodeValue = `${name} ${advice}`;
  }

  function explain(error) {
    const message = messages().filter((text) => !dropped.has(text)).at(-1)?.innerText.trim();
    if (message && error.textContent.trim() === 'Error') error.textContent = message;
  }

  // Somebody tries again or gives what was missing: messages are of an earlier attempt.
  window.spaceDropMessages = () => {
    messages().forEach((text) => dropped.add(text));
    document.querySelectorAll('.device-missing').forEach((message) => message.remove());
    document.querySelectorAll('[data-testid="toast-close"], .summary .clear-status button').forEach((button) => button.click());
  };

  const texts = (element) => [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE);

  new MutationObserver(() => {
    document.querySelectorAll('.summary .error').forEach(explain);
    for (const title of document.querySelectorAll('.toast-title'))
      texts(title).forEach((text) => { if (text.nodeValue.trim() === 'Error') text.nodeValue = 'This didn\'t work'; });
    for (const message of document.querySelectorAll('.toast-message-text'))
      texts(message).forEach(replace);
  }).observe(document.documentElement, {childList: true, subtree: true});
})();
