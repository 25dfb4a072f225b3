// A sentence in the place of the browser's broken picture: no browser shows every photo (TIFF), nor what is none.
(() => {
  const note = (isUnshown) => ({target}) => {
    if (target.matches?.('#photo img')) target.toggleAttribute('data-unshown', isUnshown);
  };
  // These events do not bubble.
  document.addEventListener('error', note(true), true);
  document.addEventListener('load', note(false), true);
})();
