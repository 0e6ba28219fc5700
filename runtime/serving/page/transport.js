/*
 * All stems on one clock.
 *
 * The song is played in spans, none longer than a piece of a track. A span of all stems starts at one and the same
 * sample of the audio context, and the next one starts at the sample where it ends: stems stay together, and neither a
 * span's end nor a loop's can be heard.
 */

const AHEAD = 2; // s that are scheduled before they are heard
const PAUSE = 0.06; // s from a command to the first sample, more on a machine that is late
const MARGIN = 0.02; // s before its first sample that a span must be whole
const FADE = 0.008; // s, so that stopping does not click
const TICK = 150; // ms between two looks at the schedule

/** Let go of what a source plays, or a browser keeps it until it finds the time to look for garbage. */
function release(source) {
  source.disconnect();
  source.buffer = null;
}

/** Plays `tracks`, which are loaded and of one length. Event "state" when it starts, stops or ends. */
export class Transport extends EventTarget {
  loop = null; // {from, to} in samples
  isPlaying = false;
  #run = null;
  #rested = 0; // position while nothing plays

  constructor(tracks) {
    super();
    const [{ mp3 }] = tracks;
    this.tracks = tracks;
    this.rate = mp3.rate;
    this.length = Math.min(...tracks.map((track) => track.mp3.length));
    this.step = mp3.step;
    this.channels = tracks.map(() => ({ volume: 1, isMuted: false, isSolo: false }));
  }

  /** The sample that is heard now. */
  get position() {
    const run = this.#run;
    if (!run) return this.#rested;
    const now = (this.context.currentTime - (this.context.outputLatency || 0)) * this.rate;
    while (run.spans.length > 1 && run.spans[1].at <= now) run.spans.shift();
    const [span] = run.spans;
    if (!span) return this.#rested;
    return Math.max(span.from, Math.min(span.to, span.from + now - span.at));
  }

  play() {
    if (this.isPlaying) return;
    this.#open();
    this.context.resume();
    if (this.#rested >= this.length) this.#rested = 0;
    this.isPlaying = true;
    this.#begin(this.#rested);
    this.#tell();
  }

  pause() {
    if (!this.isPlaying) return;
    this.#rested = Math.round(this.position);
    this.isPlaying = false;
    this.#end();
    this.#tell();
  }

  seek(sample) {
    this.#rested = Math.max(0, Math.min(this.length, Math.round(sample)));
    if (this.isPlaying) this.#begin(this.#rested);
  }

  /** Loop from sample `from` to `to`, or nothing. */
  setLoop(loop) {
    this.loop = loop;
    const position = this.position;
    if (this.isPlaying) this.seek(loop && (position < loop.from || position >= loop.to) ? loop.from : position);
  }

  /** Take over what `channels` say of volume, mute and solo. */
  mix() {
    if (!this.context) return;
    this.gains.forEach((gain, place) =>
      gain.gain.setTargetAtTime(this.#volume(place), this.context.currentTime, 0.012),
    );
  }

  /** Whether stem `place` is to be heard: no other one has solo, and it is not muted. */
  isHeard(place) {
    const { isMuted, isSolo } = this.channels[place];
    return this.channels.some((channel) => channel.isSolo) ? isSolo : !isMuted;
  }

  /** The level of stem `place` in dB below full scale, after mute, solo and volume; of what is heard now. */
  level(place) {
    if (!this.isPlaying) return -Infinity;
    this.meters[place].getFloatTimeDomainData(this.#window);
    let sum = 0;
    for (const sample of this.#window) sum += sample * sample;
    return 10 * Math.log10(sum / this.#window.length);
  }

  close() {
    this.pause();
    this.context?.close();
  }

  #window = new Float32Array(2048);

  #volume(place) {
    return this.isHeard(place) ? this.channels[place].volume : 0;
  }

  #open() {
    if (this.context) return;
    this.context = new AudioContext({ sampleRate: this.rate, latencyHint: "interactive" });
    this.gains = this.tracks.map(() => this.context.createGain());
    this.meters = this.gains.map((gain) => {
      const meter = this.context.createAnalyser();
      gain.connect(meter).connect(this.context.destination);
      return meter;
    });
    this.gains.forEach((gain, place) => (gain.gain.value = this.#volume(place)));
  }

  #begin(sample) {
    this.#end();
    const fade = this.tracks.map((_, place) => {
      const gain = this.context.createGain();
      gain.connect(this.gains[place]);
      return gain;
    });
    this.#rested = sample;
    const run = { spans: [], sources: new Set(), fade, next: sample, at: 0, pause: PAUSE, filling: false };
    this.#run = run;
    run.timer = setInterval(() => this.#fill(run), TICK);
    this.#fill(run);
  }

  #end() {
    const run = this.#run;
    if (!run) return;
    this.#run = null;
    clearInterval(run.timer);
    const now = this.context.currentTime;
    for (const gain of run.fade) {
      if (run.sources.size === 0) gain.disconnect();
      else gain.gain.setTargetAtTime(0, now, FADE / 3);
    }
    for (const source of run.sources) source.stop(now + FADE);
  }

  async #fill(run) {
    if (run.filling) return;
    run.filling = true;
    try {
      while (this.#run === run && run.next !== null && run.at < (this.context.currentTime + AHEAD) * this.rate) {
        await this.#schedule(run);
      }
    } catch (error) {
      if (this.#run === run) {
        this.pause();
        this.dispatchEvent(new CustomEvent("trouble", { detail: error.message }));
      }
    } finally {
      run.filling = false;
    }
    if (this.#run === run && run.next === null && this.context.currentTime * this.rate >= run.at) {
      this.pause();
      this.#rested = this.length;
      this.#tell();
    }
  }

  async #schedule(run) {
    const from = run.next;
    const piece = Math.floor(from / this.step);
    const loops = this.loop !== null && from < this.loop.to;
    const to = Math.min((piece + 1) * this.step, this.length, loops ? this.loop.to : Infinity);
    const pieces = await Promise.all(this.tracks.map((track) => track.piece(piece)));
    if (this.#run !== run) return;
    // Too late for the moment that was planned: later, but all together.
    run.at = Math.max(run.at, Math.ceil((this.context.currentTime + run.pause) * this.rate));
    const sources = pieces.map(({ buffer, offset }, place) => {
      const source = new AudioBufferSourceNode(this.context, { buffer });
      source.connect(run.fade[place]);
      source.start(run.at / this.rate, (offset + from - piece * this.step) / this.rate, (to - from) / this.rate);
      return source;
    });
    if ((this.context.currentTime + MARGIN) * this.rate > run.at) {
      // Some may have been started after that sample: none of them is to be heard.
      sources.forEach(release);
      run.pause *= 2;
      return;
    }
    for (const source of sources) {
      run.sources.add(source);
      source.onended = () => {
        run.sources.delete(source);
        release(source);
        if (this.#run !== run && run.sources.size === 0) run.fade.forEach((gain) => gain.disconnect());
      };
    }
    run.spans.push({ at: run.at, from, to });
    run.at += to - from;
    run.next = loops && to === this.loop.to ? this.loop.from : to < this.length ? to : null;
    if (run.next === null) return;
    // What goes wrong with it is told when it is due.
    for (const track of this.tracks) track.piece(Math.floor(run.next / this.step)).catch(() => {});
  }

  #tell() {
    this.dispatchEvent(new Event("state"));
  }
}
