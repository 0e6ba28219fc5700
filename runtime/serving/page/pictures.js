/* Spectrograms of tracks, drawn as they grow; the worker computes them. */

import { palette } from "./colours.js";

let worker = null;
let count = 0;
const growing = new Map();

function computed({ data }) {
  const picture = growing.get(data.id);
  if (!picture) return;
  if (data.columns) picture.begin(data.columns, data.bins);
  else picture.grow(data.from, data.powers, data.level);
}

/** A picture of a track on `canvas`, in a colour of colours.js; `level` is dB a column. */
export class Picture {
  #stopped = false;

  constructor(canvas, colour) {
    this.canvas = canvas;
    this.colour = colour;
    this.columns = 0;
  }

  /** Compute and draw; ends when all is drawn or `stop` was called. `told` is called after each step. */
  async draw(track, told = () => {}) {
    worker ??= new Worker("/page/spectrogram.js");
    worker.onmessage = computed;
    const id = (count += 1);
    growing.set(id, this);
    const whole = new Promise((resolve) => (this.told = () => (told(), this.done === this.columns && resolve())));
    worker.postMessage({ id, length: track.mp3.length, rate: track.mp3.rate });
    for await (const mono of track.mono()) {
      if (this.#stopped) break;
      worker.postMessage({ id, mono }, [mono.buffer]);
    }
    worker.postMessage({ id, last: true });
    if (!this.#stopped) await whole;
    growing.delete(id);
  }

  stop() {
    this.#stopped = true;
  }

  begin(columns, bins) {
    this.columns = columns;
    this.bins = bins;
    this.done = 0;
    this.powers = new Uint8Array(columns * bins);
    this.level = new Float32Array(columns).fill(-120);
    this.canvas.width = columns;
    this.canvas.height = bins;
  }

  grow(from, powers, level) {
    this.powers.set(powers, from * this.bins);
    this.level.set(level, from);
    this.done = from + level.length;
    this.paint(from, this.done);
    this.told();
  }

  /** Paint the columns from `from` to `to`, in the colours of the present theme. */
  paint(from = 0, to = this.done) {
    if (!(to > from)) return;
    const table = palette(this.colour);
    const context = this.canvas.getContext("2d");
    const image = context.createImageData(to - from, this.bins);
    const pixels = new Uint32Array(image.data.buffer);
    for (let column = from; column < to; column += 1) {
      for (let bin = 0; bin < this.bins; bin += 1) {
        pixels[(this.bins - 1 - bin) * (to - from) + column - from] = table[this.powers[column * this.bins + bin]];
      }
    }
    context.putImageData(image, from, 0);
  }
}
