// The page of live sessions: sends the microphone's sound, and shows the frames that come back in step with their sound.
// The messages are described in docs/live.md.
const RATE = 16000;  // samples a second, both ways
const CHUNK = 640;  // samples of a message of the microphone's
// Browsers' own messages are for programmers.
const MICROPHONE_ERRORS = {
  NotAllowedError: 'The microphone was not allowed. Allow it to this page in the browser, and press Talk again.',
  NotFoundError: 'No microphone was found. Connect one, and press Talk again.',
  NotReadableError: 'The microphone is in use. Close the program that uses it, and press Talk again.',
};
const FPS = 25;
const LEAD_SECONDS = 0.12;  // between a frame's arrival and its time, against jitter
const SPARE_SECONDS = 0.04;  // more of a lead than that: silent frames are left out, so that the delay is no longer than needed
const LEADS_KEPT = 50;  // of the latest frames

const element = (id) => document.getElementById(id);
const canvas = element('picture').getContext('2d');
let photo = null;  // its path on the server
let session = null;
let numChosen = 0;  // photos: what is found out about an earlier one comes too late

function tell(sentence, isError = false) {
  element('status').textContent = sentence;
  element('status').classList.toggle('error', isError);
}

function options() {
  const values = {emotion: element('emotion').value};
  for (const name of ['intensity', 'gaze_yaw', 'gaze_pitch']) values[name] = Number(element(name).value);
  return values;
}

async function choose(file) {
  if (!file) return;
  const number = ++numChosen;
  element('begin').disabled = true;
  photo = null;
  element('shown').hidden = true;
  tell('Looking at the photo …');
  try {
    const form = new FormData();
    form.append('files', file);
    const [path] = await ask('upload', {method: 'POST', body: form});
    const [picture, notes] = await preview(path);
    if (number !== numChosen) return;
    if (!picture) throw new Error(notes);
    element('shown').src = picture.url;
    element('shown').hidden = false;
    photo = path;
    element('begin').disabled = Boolean(session);
    tell(`${notes} Press Talk, allow the microphone, and speak.`);
  } catch (error) {
    if (number === numChosen) tell(error.message, true);
  }
}

async function chooseExample() {
  const picture = await (await fetch('live_example.jpg')).blob();
  choose(new File([picture], 'example.jpg', {type: picture.type}));
}

async function ask(path, request) {
  const answer = await fetch(`gradio_api/${path}`, request).catch(() => {
    throw new Error('The demo does not answer. Check the connection, and try again in a minute.');
  });
  const text = await answer.text();
  if (answer.ok) return JSON.parse(text);
  let sentence = text;
  try { sentence = JSON.parse(text).detail; } catch {}
  throw new Error(sentence);
}

// What the endpoint /look returns: the framed photo, or null where it won't do, and notes. The portrait is prepared, too.
async function preview(path) {
  const values = [{path, meta: {_type: 'gradio.FileData'}}, 1, 'mediapipe', 'crop'];
  const headers = {'Content-Type': 'application/json'};
  const {event_id} = await ask('call/look', {method: 'POST', headers, body: JSON.stringify({data: values})});
  const events = await (await fetch(`gradio_api/call/look/${event_id}`)).text();
  const [picture, notes] = JSON.parse(events.trim().split('\ndata: ').pop());
  return [picture, notes.replaceAll('**', '').replaceAll('\n\n', ' ')];
}

// Frames in the order and at the pace of their sound.
class Player {
  constructor() {
    this.context = new AudioContext({sampleRate: RATE});
    this.volume = new GainNode(this.context, {gain: Number(element('heard').checked)});
    this.volume.connect(this.context.destination);
    this.next = 0;  // when the next frame is due, on the context's clock
    this.leads = [];  // seconds between the arrival and the time of the latest frames
    this.pictures = [];  // {at, said, bitmap}, bitmap null until it is decoded
    this.numShown = 0;
    this.numLate = 0;
    this.skipped = [];  // of the frames of the latest second, whether the server has skipped their pictures
    this.draw = this.draw.bind(this);
    requestAnimationFrame(this.draw);
  }

  add(message) {
    const header = new DataView(message), said = header.getUint32(4, true), count = header.getUint32(8, true);
    const sound = Float32Array.from(new Int16Array(message, 12, count), (value) => value / 32768);
    const now = this.context.currentTime;
    if (this.next < now) {  // late, or the first one
      if (this.next) this.numLate++;
      this.next = now + LEAD_SECONDS;
      this.leads = [];
    }
    this.leads.push(this.next - now);
    if (this.leads.length > LEADS_KEPT) {
      this.leads.shift();
      if (Math.min(...this.leads) > LEAD_SECONDS + SPARE_SECONDS && sound.every((value) => Math.abs(value) < 0.01)) {
        this.leads = this.leads.map((lead) => lead - count / RATE);
        return;
      }
    }
    const jpeg = new Uint8Array(message, 12 + 2 * count);
    this.skipped.push(!jpeg.length);
    if (this.skipped.length > FPS) this.skipped.shift();
    if (jpeg.length) {
      const picture = {at: this.next, said, bitmap: null};
      this.pictures.push(picture);
      createImageBitmap(new Blob([jpeg], {type: 'image/jpeg'})).then((bitmap) => { picture.bitmap = bitmap; });
    }
    const buffer = new AudioBuffer({length: count, sampleRate: RATE});
    buffer.copyToChannel(sound, 0);
    const source = new AudioBufferSourceNode(this.context, {buffer});
    source.connect(this.volume);
    source.start(this.next);
    this.next += count / RATE;
  }

  // Shows the latest picture whose sound is heard now.
  draw() {
    if (this.context.state === 'closed') return;
    const heard = this.context.currentTime - (this.context.outputLatency || 0);
    let due = null;
    while (this.pictures.length && this.pictures[0].at <= heard && (this.pictures[0].bitmap || this.pictures[0].at < heard - 0.2)) {
      due?.bitmap?.close();
      due = this.pictures.shift();
    }
    if (due?.bitmap) {
      canvas.drawImage(due.bitmap, 0, 0, canvas.canvas.width, canvas.canvas.height);
      due.bitmap.close();
      this.numShown++;
      this.onshow?.(due.said);
    }
    requestAnimationFrame(this.draw);
  }

  close() { this.context.close(); }
}

class Session {
  constructor(microphone) {
    this.microphone = microphone;
    this.player = new Player();
    this.player.onshow = (said) => this.measure(said);
    this.spoken = [];  // when each chunk was recorded, ms
    this.told = 0;  // when the delay was told
    this.notice = '';  // of the server
    this.delay = null;  // seconds from what was said to what is seen
    this.socket = new WebSocket(new URL('live', location.href).href.replace(/^http/, 'ws'));
    this.socket.binaryType = 'arraybuffer';
    this.socket.onopen = () => this.socket.send(JSON.stringify({photo, options: {...options(), mark: element('mark').checked}}));
    this.socket.onmessage = ({data}) => typeof data === 'string' ? this.answer(JSON.parse(data)) : this.player.add(data);
    this.socket.onclose = ({code}) => this.close(code === 1012 ? 'The demo is restarting.' : 'The connection was lost.', true);
  }

  answer(message) {
    if (message.type === 'ready') this.record();
    else if (message.type === 'refused') tell(message.message, true);
    else if (message.type === 'restarting') this.notice = ` ${message.message}`;
    else this.close(message.message || 'Press Talk to begin again.', message.type === 'error');
  }

  async record() {
    tell('Speak.');
    this.recording = new AudioContext();
    await this.recording.audioWorklet.addModule('live_microphone.js');
    if (session !== this) return;
    const capture = new AudioWorkletNode(this.recording, 'microphone', {numberOfOutputs: 0, channelCount: 1, channelCountMode: 'explicit'});
    capture.port.onmessage = ({data}) => {
      if (this.socket.readyState !== WebSocket.OPEN) return;
      this.spoken.push(performance.now());
      this.socket.send(data);
    };
    new MediaStreamAudioSourceNode(this.recording, {mediaStream: this.microphone}).connect(capture);
  }

  measure(said) {
    const latest = Math.ceil(said / CHUNK) - 1, now = performance.now();
    if (latest < 0) return;
    this.delay = (now - this.spoken[latest]) / 1000;
    if (now < this.told + 1000) return;
    this.told = now;
    const drawn = FPS - this.player.skipped.filter(Boolean).length;
    const rate = drawn < FPS ? ` The server is slow: it draws ${drawn} pictures a second instead of ${FPS}.` : '';
    tell(`The portrait is ${this.delay.toFixed(1)} s behind you.${rate}${this.notice}`);
  }

  change(values) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(values));
  }

  close(sentence, isError = false) {
    if (session !== this) return;
    session = null;
    this.socket.close();
    this.player.close();
    this.recording?.close();
    for (const track of this.microphone.getTracks()) track.stop();
    element('begin').disabled = !photo;
    element('end').disabled = true;
    document.querySelector('main').classList.remove('talking');
    tell(sentence, isError);
  }
}

async function begin() {
  element('begin').disabled = true;
  try {
    tell('Waiting for the microphone …');
    const constraints = {echoCancellation: true, noiseSuppression: true, autoGainControl: true};
    if (!navigator.mediaDevices) throw new Error('Browsers give the microphone to pages at https:// or at localhost only.');
    const microphone = await navigator.mediaDevices.getUserMedia({audio: constraints});
    tell('Preparing the portrait …');
    session = new Session(microphone);
    element('end').disabled = false;
    document.querySelector('main').classList.add('talking');
  } catch (error) {
    element('begin').disabled = false;
    tell(MICROPHONE_ERRORS[error.name] ?? error.message, true);
  }
}

element('controls').addEventListener('submit', (event) => { event.preventDefault(); begin(); });
element('end').addEventListener('click', () => session?.close('Press Talk to begin again.'));
element('photo').addEventListener('change', ({target}) => choose(target.files[0]));
element('example').addEventListener('click', () => chooseExample().catch((error) => tell(error.message, true)));
for (const name of ['emotion', 'intensity', 'gaze_yaw', 'gaze_pitch'])
  element(name).addEventListener('change', () => session?.change({[name]: options()[name]}));
element('heard').addEventListener('change', ({target}) => { if (session) session.player.volume.gain.value = Number(target.checked); });
for (const [type, isOver] of [['dragover', true], ['dragleave', false], ['drop', false]]) {
  element('drop').addEventListener(type, (event) => {
    event.preventDefault();
    element('drop').classList.toggle('over', isOver);
    if (type === 'drop') choose(event.dataTransfer.files[0]);
  });
}
