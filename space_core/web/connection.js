// A banner while the demo can't be reached: Gradio shows nothing then, and loads the page anew once it answers again.
(() => {
  const request = window.fetch;
  let banner = null;

  function show() {
    if (banner) return;
    banner = document.createElement('div');
    banner.id = 'connection-lost';
    banner.setAttribute('role', 'alert');
    banner.textContent = 'The connection to the demo is lost. This page loads again as soon as it is back.';
    document.body.append(banner);
  }

  window.fetch = async (resource, ...options) => {
    const isOurs = new URL(resource.url ?? resource, location.href).host === location.host;
    try {
      const answer = await request(resource, ...options);
      if (isOurs) banner = banner?.remove();
      return answer;
    } catch (error) {
      if (isOurs && error.name !== 'AbortError') show();
      throw error;
    }
  };
})();
