// Captures the microphone as the live session takes it: 16 kHz mono, 16-bit PCM, in chunks of 40 ms.
const RATE = 16000;
const CHUNK = 640;  // samples
const ZEROS = 12;  // zero crossings of the low-pass filter on each side

class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.step = sampleRate / RATE;  // input samples for each of the output
    this.scale = Math.min(1, 1 / this.step);  // of the cutoff: half of the lower rate
    this.reach = Math.ceil(ZEROS / this.scale);
    this.heard = new Float32Array(2 * this.reach);  // what is still needed, after silence before the beginning
    this.at = this.reach;  // of the next output sample in it
    this.chunk = new Int16Array(CHUNK);
    this.count = 0;
  }

  // The signal between samples, by a sinc that a Hann window ends.
  sample(at) {
    let sum = 0;
    for (let i = Math.ceil(at - this.reach); i < at + this.reach; i++) {
      const x = (at - i) * this.scale;
      const sinc = x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
      sum += this.heard[i] * sinc * 0.5 * (1 + Math.cos(Math.PI * (at - i) / this.reach));
    }
    return sum * this.scale;
  }

  process([channels]) {
    if (!channels.length) return true;
    const mono = channels[0];
    const joined = new Float32Array(this.heard.length + mono.length);
    joined.set(this.heard);
    joined.set(mono, this.heard.length);
    this.heard = joined;
    for (; this.at + this.reach < joined.length; this.at += this.step) {
      this.chunk[this.count++] = Math.max(-32768, Math.min(32767, Math.round(32767 * this.sample(this.at))));
      if (this.count === CHUNK) {
        this.port.postMessage(this.chunk.buffer.slice(0));
        this.count = 0;
      }
    }
    const passed = Math.max(0, Math.floor(this.at) - this.reach);
    this.heard = joined.slice(passed);
    this.at -= passed;
    return true;
  }
}

registerProcessor('microphone', Microphone);
