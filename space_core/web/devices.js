// Why a camera or microphone can't be used, beside the widget that asked for it: Gradio says nothing then.
(() => {
  const devices = navigator.mediaDevices;
  if (!devices) return;  // pages that are neither encrypted nor of the same machine have none
  const request = devices.getUserMedia.bind(devices);
  const told = new Set();  // messages of errors for which the page has said why
  const REASONS = {
    NotAllowedError: (device) => `The ${device} was not allowed. Allow it to this page in the browser and try again`,
    NotFoundError: (device) => `No ${device} was found. Connect one and try again`,
    NotReadableError: (device) => `The ${device} is in use. Close the program that uses it and try again`,
  };

  function tell(error, isCamera) {
    const reason = REASONS[error.name] ?? ((device) => `The ${device} can't be used (${error.message}). Try another one`);
    const message = document.createElement('p');
    message.className = 'device-missing';
    message.setAttribute('role', 'alert');
    message.textContent = isCamera ? `${reason('camera')}, or upload a photo.` : `${reason('microphone')}, or upload a recording.`;
    if (isCamera) document.querySelector('#note').before(message);
    else document.querySelector('#speech').after(message);
  }

  devices.getUserMedia = async (constraints) => {
    document.querySelectorAll('.device-missing').forEach((message) => message.remove());
    try {
      return await request(constraints);
    } catch (error) {
      told.add(error.message);
      tell(error, Boolean(constraints.video));
      throw error;
    }
  };

  window.addEventListener('unhandledrejection', (event) => {
    if ([...told].some((message) => String(event.reason?.message).endsWith(message))) event.preventDefault();
  });
})();
