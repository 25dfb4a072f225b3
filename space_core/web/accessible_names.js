// Names for screen readers where Gradio gives none, or ones that its elements can't have.
(() => {
  const name = (selector, value) =>
    document.querySelectorAll(selector).forEach((element) => element.ariaLabel === null && element.setAttribute('aria-label', value));

  new MutationObserver(() => {
    name('#found button:not([title])', 'Who speaks: the faces in the photo. A click on one chooses it.');
    document.querySelectorAll('.empty[aria-label]:not([role])').forEach((box) => box.setAttribute('role', 'img'));
    // Their visible text names them, also for those who say what is to be clicked.
    document.querySelectorAll('button.upload-container[aria-label]').forEach((box) => box.removeAttribute('aria-label'));
    name('#examples table', 'Examples');
    document.querySelectorAll('fieldset [data-testid="block-info"]').forEach((label) => {
      name(`#${label.closest('fieldset').id}`, label.innerText.trim());
    });
    document.querySelectorAll('[id^="setting-"]:not([role])').forEach((setting) => {
      setting.setAttribute('role', 'group');
      setting.setAttribute('aria-label', `Setting ${setting.id.split('-')[1]}`);
    });
    document.querySelectorAll('#note [data-testid="markdown"]').forEach((note) => { note.ariaLive = 'polite'; });
    document.querySelectorAll('#examples td img[alt=""]').forEach((picture) => {
      picture.alt = decodeURIComponent(picture.src.split('/').pop()).replace(/\.\w+$/, '').replaceAll('_', ' ');
    });
  }).observe(document.documentElement, {childList: true, subtree: true});
})();
