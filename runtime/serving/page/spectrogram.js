/*
 * A spectrogram and the level of a song, in a worker, while its pieces are decoded. Its bins are of equal width below
 * KNEE and of equal ratio above: the bass has room, too.
 *
 * In: {id, length, rate} (samples, Hz) begins one, {id, mono} brings its next samples, {id, last: true} ends it.
 * Out: {id, columns, bins} once, then {id, from, powers, level}: bytes [columns, bins] of the columns from `from`
 * on, bin 0 the lowest, and their levels in dB below full scale.
 */

const SIZE = 2048; // samples of an FFT
const BINS = 96;
const COLUMNS = 2000; // at most
const SHORTEST = 512; // samples of a column
const PER_COLUMN = 6; // FFTs at most: the columns of a long song are sampled
const LOWEST = 40; // Hz
const HIGHEST = 16000; // Hz
const KNEE = 250; // Hz
const FLOOR = -88; // dB of a bin that is shown as 0
const RANGE = 66; // dB from there to 255

const hann = Float32Array.from(
  { length: SIZE },
  (_, i) => (0.5 - 0.5 * Math.cos((2 * Math.PI * i) / SIZE)) * (4 / SIZE),
);
const cosine = Float32Array.from({ length: SIZE / 2 }, (_, i) => Math.cos((2 * Math.PI * i) / SIZE));
const sine = Float32Array.from({ length: SIZE / 2 }, (_, i) => -Math.sin((2 * Math.PI * i) / SIZE));
const real = new Float32Array(SIZE);
const imaginary = new Float32Array(SIZE);
const reversed = Uint16Array.from({ length: SIZE }, (_, i) =>
  parseInt(i.toString(2).padStart(11, "0").split("").reverse().join(""), 2),
);

/** `real` and `imaginary`, in bit-reversed order, to their transform in place. */
function transform() {
  for (let half = 1, stride = SIZE / 2; half < SIZE; half *= 2, stride /= 2) {
    for (let start = 0; start < SIZE; start += 2 * half) {
      for (let i = start, k = 0; i < start + half; i += 1, k += stride) {
        const j = i + half;
        const a = real[j] * cosine[k] - imaginary[j] * sine[k];
        const b = real[j] * sine[k] + imaginary[j] * cosine[k];
        real[j] = real[i] - a;
        imaginary[j] = imaginary[i] - b;
        real[i] += a;
        imaginary[i] += b;
      }
    }
  }
}

const toPlace = (hertz) => Math.log(1 + hertz / KNEE);
const toHertz = (place) => KNEE * (Math.exp(place) - 1);

/** Edges of the bins in bins of the FFT; each bin is the largest of what lies between two edges. */
function edges(rate) {
  const low = toPlace(LOWEST);
  const high = toPlace(Math.min(HIGHEST, rate / 2));
  return Array.from({ length: BINS + 1 }, (_, i) => (toHertz(low + ((high - low) * i) / BINS) * SIZE) / rate);
}

class Picture {
  constructor({ id, length, rate }) {
    this.id = id;
    this.hop = Math.max(SHORTEST, Math.ceil(length / COLUMNS));
    this.columns = Math.ceil(length / this.hop);
    this.edges = edges(rate);
    this.carry = new Float32Array(0);
    this.done = 0;
    this.power = new Float32Array(SIZE / 2);
    postMessage({ id, columns: this.columns, bins: BINS });
  }

  add(mono, last) {
    const all = new Float32Array(this.carry.length + mono.length + (last ? this.hop + SIZE : 0));
    all.set(this.carry);
    all.set(mono, this.carry.length);
    const need = Math.max(this.hop, SIZE);
    const ready = Math.max(0, Math.min(this.columns - this.done, Math.floor((all.length - need) / this.hop) + 1));
    const powers = new Uint8Array(ready * BINS);
    const level = new Float32Array(ready);
    for (let column = 0; column < ready; column += 1) {
      this.column(all, column * this.hop, powers.subarray(column * BINS, (column + 1) * BINS));
      level[column] = decibels(all, column * this.hop, this.hop);
    }
    this.carry = all.slice(ready * this.hop);
    postMessage({ id: this.id, from: this.done, powers, level }, [powers.buffer, level.buffer]);
    this.done += ready;
  }

  column(all, start, out) {
    const count = Math.min(PER_COLUMN, Math.max(1, Math.floor(this.hop / SIZE)));
    this.power.fill(0);
    for (let n = 0; n < count; n += 1) {
      const at = start + Math.floor((n * this.hop) / count);
      for (let i = 0; i < SIZE; i += 1) real[reversed[i]] = all[at + i] * hann[i];
      imaginary.fill(0);
      transform();
      for (let i = 0; i < SIZE / 2; i += 1) this.power[i] += (real[i] ** 2 + imaginary[i] ** 2) / count;
    }
    for (let bin = 0; bin < BINS; bin += 1) {
      const db = 10 * Math.log10(this.between(this.edges[bin], this.edges[bin + 1]) + 1e-12);
      out[bin] = Math.max(0, Math.min(255, (255 * (db - FLOOR)) / RANGE));
    }
  }

  /** The largest power from FFT bin `a` to `b`; between two FFT bins, where `a` and `b` have none, interpolated. */
  between(a, b) {
    const first = Math.ceil(a);
    const last = Math.min(this.power.length - 1, Math.floor(b));
    let most = 0;
    for (let i = first; i <= last; i += 1) most = Math.max(most, this.power[i]);
    if (last >= first) return most;
    const middle = (a + b) / 2;
    const below = Math.floor(middle);
    return this.power[below] + (middle - below) * (this.power[below + 1] - this.power[below]);
  }
}

function decibels(samples, from, count) {
  let sum = 0;
  for (let i = from; i < from + count; i += 1) sum += samples[i] * samples[i];
  return 10 * Math.log10(sum / count + 1e-12);
}

const pictures = new Map();

onmessage = ({ data }) => {
  if (data.length) pictures.set(data.id, new Picture(data));
  else pictures.get(data.id)?.add(data.mono ?? new Float32Array(0), Boolean(data.last));
  if (data.last) pictures.delete(data.id);
};
