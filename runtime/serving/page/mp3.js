/* MP3 files cut at their frames, so that a browser decodes a long song piece by piece. */

const KBIT = {
  1: [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320], // MPEG 1, layer III
  2: [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160], // MPEG 2 and 2.5, layer III
};
const HERTZ = { 3: [44100, 48000, 32000], 2: [22050, 24000, 16000], 0: [11025, 12000, 8000] };
const DECODER_DELAY = 529; // samples that every MP3 decoder is late
// Frames decoded before a piece and thrown away: a frame needs the bits and the overlap of those before it.
const LEAD = 10;

/** One frame header at `at`: {bytes, samples, rate, mono} or null where none is. */
function header(bytes, at) {
  if (at + 4 > bytes.length || bytes[at] !== 0xff || (bytes[at + 1] & 0xe6) !== 0xe2) return null;
  const version = (bytes[at + 1] >> 3) & 3;
  const rate = HERTZ[version]?.[(bytes[at + 2] >> 2) & 3];
  const kbit = KBIT[version === 3 ? 1 : 2][bytes[at + 2] >> 4];
  if (!rate || !kbit) return null;
  const samples = version === 3 ? 1152 : 576;
  const padding = (bytes[at + 2] >> 1) & 1;
  const size = Math.floor((samples * 125 * kbit) / rate) + padding;
  return { bytes: size, samples, rate, mono: bytes[at + 3] >> 6 === 3, version };
}

/** Encoder delay and padding in samples, as LAME's tag in the first frame tells them; null if that frame is sound. */
function tag(bytes, at, head) {
  const side = head.version === 3 ? (head.mono ? 17 : 32) : head.mono ? 9 : 17;
  const name = String.fromCharCode(...bytes.subarray(at + 4 + side, at + 8 + side));
  if (name !== "Xing" && name !== "Info") return null;
  const flags = bytes[at + 11 + side];
  const lame =
    at + 12 + side + (flags & 1 ? 4 : 0) + (flags & 2 ? 4 : 0) + (flags & 4 ? 100 : 0) + (flags & 8 ? 4 : 0);
  const [a, b, c] = bytes.subarray(lame + 21, lame + 24);
  return { delay: (a << 4) | (b >> 4), padding: ((b & 15) << 8) | c };
}

function afterId3(bytes) {
  if (bytes[0] !== 0x49 || bytes[1] !== 0x44 || bytes[2] !== 0x33) return 0;
  return 10 + ((bytes[6] << 21) | (bytes[7] << 14) | (bytes[8] << 7) | bytes[9]);
}

/**
 * An MP3 file as pieces of about `seconds`. `bytes` is the whole file; what is kept of it is a Blob, which a browser
 * may keep on disk. Lengths and positions are in samples of `rate` (Hz), without the encoder's delay and padding.
 */
export class Mp3 {
  constructor(bytes, seconds) {
    let at = afterId3(bytes);
    let head = header(bytes, at);
    if (!head) throw new Error("this preview is no MP3 file");
    const info = tag(bytes, at, head);
    if (info) at += head.bytes;
    const offsets = [];
    this.rate = head.rate;
    this.perFrame = head.samples;
    for (head = header(bytes, at); head && at + head.bytes <= bytes.length; head = header(bytes, at)) {
      offsets.push(at);
      at += head.bytes;
    }
    offsets.push(at);
    this.offsets = offsets;
    this.frames = offsets.length - 1;
    this.skip = info ? info.delay + DECODER_DELAY : 0;
    this.length = Math.max(0, this.frames * this.perFrame - (info ? info.delay + info.padding : 0));
    this.step = Math.round((seconds * this.rate) / this.perFrame) * this.perFrame;
    this.pieces = Math.ceil(this.length / this.step);
    this.blob = new Blob([bytes]);
  }

  /**
   * Piece `k`, decoded by `context` of the rate `rate`: {buffer, offset, length}, of which `length` samples of `buffer`
   * from `offset` on are the piece; that is `step`, and less for the last one.
   */
  async decode(context, k) {
    const from = k * this.step + this.skip; // in samples of the stream
    const to = Math.min((k + 1) * this.step, this.length) + this.skip;
    const first = Math.max(0, Math.floor(from / this.perFrame) - LEAD);
    const last = Math.min(this.frames, Math.ceil(to / this.perFrame) + 1);
    const slice = await this.blob.slice(this.offsets[first], this.offsets[last]).arrayBuffer();
    const buffer = await context.decodeAudioData(slice);
    // A decoder that drops samples drops them at the start.
    const dropped = (last - first) * this.perFrame - buffer.length;
    return { buffer, offset: Math.max(0, from - first * this.perFrame - dropped), length: to - from };
  }
}
