/* One preview: its compressed bytes, the pieces that are being played, and its picture. */

import { bytes } from "./api.js";
import { Mp3 } from "./mp3.js";

const SECONDS = 10; // of a piece
const KEPT = 4; // decoded pieces of a track, 3.5 MB each

/**
 * A track holds its preview as it came, 1.2 MB a minute, in a Blob; decoded are KEPT pieces at a time, whatever the
 * length of the song.
 */
export class Track {
  #pieces = new Map();
  #decoder = null;

  constructor(name, url) {
    this.name = name;
    this.url = url;
  }

  /** Fetch the preview. Raises ApiError, or Error for a file that is none. */
  async load() {
    this.mp3 = new Mp3(await bytes(this.url), SECONDS);
    this.#decoder = new OfflineAudioContext(2, 1, this.mp3.rate);
  }

  /** Piece `k` as a promise of what Mp3.decode gives; the least recently asked for is forgotten. */
  piece(k) {
    const kept = this.#pieces.get(k) ?? this.mp3.decode(this.#decoder, k);
    this.#pieces.delete(k);
    this.#pieces.set(k, kept);
    if (this.#pieces.size > KEPT) this.#pieces.delete(this.#pieces.keys().next().value);
    return kept;
  }

  /** All samples in order, one channel, piece by piece; nothing of it is kept. */
  async *mono() {
    for (let k = 0; k < this.mp3.pieces; k += 1) {
      const { buffer, offset, length } = await this.mp3.decode(this.#decoder, k);
      const sum = buffer.getChannelData(0).slice(offset, offset + length);
      if (buffer.numberOfChannels > 1) {
        const right = buffer.getChannelData(1).subarray(offset, offset + length);
        for (let i = 0; i < sum.length; i += 1) sum[i] = (sum[i] + right[i]) / 2;
      }
      yield sum;
    }
  }
}
