/* The player of one song: what is pressed goes to the transport, what the transport does is shown. */

import { drawParts, drawRuler } from "./axis.js";
import { colours } from "./colours.js";
import { Picture } from "./pictures.js";
import { StemRow } from "./stem.js";
import { touchable } from "./strip.js";
import { Track } from "./track.js";
import { Transport } from "./transport.js";
import { voiced } from "./voice.js";
import { about, time } from "./words.js";

const STEP = 5; // s of an arrow key
const LEAP = 15; // s of page up and down
const SHORTEST = 0.2; // s of a loop
// Beside drums, bass and others it holds these again: with both, they would be heard twice.
const REST = "instrumental";
const VOICES = ["vocals", "vocal", "lead", "voice"];

/** When a song will be gone, in words. */
const until = (moment) => `kept for another ${about(Math.max(0, (Date.parse(moment) - Date.now()) / 1000))}`;

const $ = (id) => document.getElementById(id);

export class Player {
  job = null;
  #transport = null;
  #rows = [];
  #pictures = [];
  #parts = [];
  #opened = 0;
  #told = 0;

  constructor() {
    $("play").onclick = () => this.toggle();
    $("restart").onclick = () => this.seek(0);
    $("loop-from").onclick = () => this.loopFrom();
    $("loop-to").onclick = () => this.loopTo();
    $("loop").onclick = () => this.toggleLoop();
    $("voice-next").onclick = () => this.nextVoice();
    $("position").addEventListener("keydown", (event) => this.#slide(event));
    this.#touch($("position"));
    this.#touch($("voice"));
    new ResizeObserver(() => this.#rule()).observe($("ruler"));
  }

  get isOpen() {
    return this.#transport !== null;
  }

  /** Show `job`, which is done, and load its previews. */
  async open(job) {
    this.close();
    const opened = (this.#opened += 1);
    this.job = job;
    $("song-name").textContent = job.name;
    $("song-words").textContent = `${job.stems.length} stems by ${job.engine}, ${until(job.expires)}`;
    $("all").href = `/api/jobs/${job.id}/stems.zip`;
    $("loading").textContent = "Loading the stems…";
    const hues = colours(job.stems.map((stem) => stem.name));
    const tracks = job.stems.map((stem) => new Track(stem.name, stem.preview));
    this.#rows = job.stems.map((stem, place) => new StemRow(stem, hues[place], () => this.#mix()));
    for (const row of this.#rows) this.#touch(row.strip);
    $("stems").replaceChildren(...this.#rows.map((row) => row.element));
    try {
      await Promise.all(tracks.map((track) => track.load()));
      if (opened !== this.#opened) return;
      this.#ready(new Transport(tracks));
      await this.#draw(tracks, new Track("song", job.song.preview), hues, opened);
      if (opened === this.#opened) $("loading").textContent = "";
    } catch (error) {
      if (opened === this.#opened) $("loading").textContent = `The stems cannot be played: ${error.message}`;
    }
  }

  close() {
    this.#opened += 1;
    for (const picture of this.#pictures) picture.stop();
    this.#transport?.close();
    this.job = null;
    this.#transport = null;
    this.#pictures = [];
    this.#parts = [];
    this.#rows = [];
    $("play").disabled = true;
    $("voice-row").hidden = $("voice-next").hidden = true;
    $("voice").replaceChildren();
    const canvas = $("position").querySelector("canvas");
    canvas.width = canvas.height = 0;
    this.#shape(null);
    this.#at(0);
  }

  toggle() {
    if (this.#transport?.isPlaying) this.#transport.pause();
    else this.#transport?.play();
  }

  /** Go to `seconds`. */
  seek(seconds) {
    if (!this.isOpen) return;
    this.#transport.seek(seconds * this.#transport.rate);
    this.#show();
  }

  step(seconds) {
    if (this.isOpen) this.seek(this.#seconds + seconds);
  }

  nextVoice() {
    const next = this.#parts.find((part) => part.from > this.#seconds + 0.3) ?? this.#parts[0];
    if (next) this.seek(next.from);
  }

  loopFrom() {
    if (!this.isOpen) return;
    const { length, loop, position, rate } = this.#transport;
    const from = Math.round(position);
    this.#loop({ from, to: loop && loop.to > from + SHORTEST * rate ? loop.to : length });
  }

  loopTo() {
    if (!this.isOpen) return;
    const { loop, position, rate } = this.#transport;
    const to = Math.round(position);
    this.#loop({ from: loop && loop.from < to - SHORTEST * rate ? loop.from : 0, to });
  }

  toggleLoop() {
    if (this.isOpen) this.#loop(this.#transport.loop ? null : { from: 0, to: this.#transport.length });
  }

  press(place, what) {
    this.#rows[place]?.press(what);
  }

  /** Draw all again: the theme has changed. */
  repaint() {
    for (const picture of this.#pictures) picture.paint();
  }

  get #seconds() {
    return this.#transport.position / this.#transport.rate;
  }

  #ready(transport) {
    this.#transport = transport;
    transport.addEventListener("state", () => this.#state());
    transport.addEventListener(
      "trouble",
      (event) => ($("loading").textContent = `Playing stopped: ${event.detail}`),
    );
    const seconds = transport.length / transport.rate;
    $("end").textContent = time(seconds);
    $("position").setAttribute("aria-valuemax", Math.floor(seconds));
    $("play").disabled = false;
    const names = transport.tracks.map((track) => track.name);
    if (names.length > 2 && names.includes("vocals")) this.press(names.indexOf(REST), "isMuted");
    this.#mix();
    $("loading").textContent = "Drawing the spectrograms…";
    this.#rule();
    this.#show();
  }

  async #draw(tracks, song, hues, opened) {
    const voice = tracks.findIndex((track) => VOICES.includes(track.name));
    for (const [place, track] of tracks.entries()) {
      const picture = new Picture(this.#rows[place].canvas, hues[place]);
      this.#pictures.push(picture);
      await picture.draw(track, place === voice ? () => this.#voice(picture, hues[place]) : undefined);
      if (opened !== this.#opened) return;
    }
    await song.load();
    if (opened !== this.#opened) return;
    const picture = new Picture($("position").querySelector("canvas"), "whole");
    this.#pictures.push(picture);
    await picture.draw(song);
  }

  #voice(picture, hue) {
    if (!this.isOpen) return;
    const seconds = this.#transport.length / this.#transport.rate;
    this.#parts = voiced(picture.level, seconds / picture.columns);
    $("voice-row").hidden = false;
    $("voice-next").hidden = this.#parts.length === 0;
    $("voice").dataset.colour = hue;
    drawParts($("voice"), this.#parts, seconds);
  }

  #rule() {
    if (this.isOpen) drawRuler($("ruler"), this.#transport.length / this.#transport.rate);
  }

  #touch(strip) {
    touchable(strip, {
      seek: (part) => this.isOpen && this.seek((part * this.#transport.length) / this.#transport.rate),
      loop: (from, to, isLast) => this.#drag(from, to, isLast),
    });
  }

  #drag(from, to, isLast) {
    if (!this.isOpen) return;
    const { length, rate } = this.#transport;
    const loop = { from: Math.round(from * length), to: Math.round(to * length) };
    if (!isLast) this.#shape(loop);
    else if (loop.to - loop.from >= SHORTEST * rate) this.#loop(loop, true);
    else this.#shape(this.#transport.loop);
  }

  #loop(loop, goes = false) {
    if (loop && loop.to - loop.from < SHORTEST * this.#transport.rate) return;
    this.#transport.setLoop(loop);
    if (goes) this.#transport.seek(loop.from);
    this.#shape(loop);
    this.#show();
  }

  /** Show the part `loop` as that which loops. */
  #shape(loop) {
    const rows = $("rows");
    $("loop").setAttribute("aria-pressed", String(loop !== null));
    rows.toggleAttribute("data-loops", loop !== null);
    if (!loop) {
      $("loop-words").textContent = "";
      return;
    }
    const { length, rate } = this.#transport;
    rows.style.setProperty("--loop-from", loop.from / length);
    rows.style.setProperty("--loop-to", loop.to / length);
    $("loop-words").textContent = `Loops ${time(loop.from / rate)} to ${time(loop.to / rate)}`;
  }

  #mix() {
    if (!this.isOpen) return; // what is switched while the song loads is taken over after that
    this.#transport.channels = this.#rows.map((row) => row.channel);
    this.#transport.mix();
    this.#rows.forEach((row, each) => row.heard(this.#transport.isHeard(each)));
  }

  #slide(event) {
    const steps = {
      ArrowLeft: -STEP,
      ArrowDown: -STEP,
      ArrowRight: STEP,
      ArrowUp: STEP,
      PageDown: -LEAP,
      PageUp: LEAP,
    };
    if (!this.isOpen || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in steps) this.step(steps[event.key]);
    else if (event.key === "Home") this.seek(0);
    else if (event.key === "End") this.seek(this.#transport.length / this.#transport.rate - 1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #state() {
    const plays = this.#transport.isPlaying;
    $("play").setAttribute("aria-label", plays ? "Pause" : "Play");
    $("play").classList.toggle("is-playing", plays);
    if (plays) this.#frame();
    else this.#show();
  }

  #frame() {
    if (!this.#transport?.isPlaying) return;
    this.#show();
    requestAnimationFrame(() => this.#frame());
  }

  #show() {
    const { length, rate, position } = this.#transport;
    this.#at(length ? position / length : 0);
    this.#rows.forEach((row, place) => row.level(this.#transport.level(place)));
    const second = Math.floor(position / rate);
    if (second === this.#told) return;
    this.#told = second;
    $("now").textContent = time(second);
    $("position").setAttribute("aria-valuenow", second);
    $("position").setAttribute("aria-valuetext", `${time(second)} of ${time(length / rate)}`);
  }

  #at(part) {
    $("rows").style.setProperty("--at", part);
    if (part > 0) return;
    this.#told = -1;
    $("now").textContent = time(0);
    $("position").setAttribute("aria-valuenow", 0);
  }
}
