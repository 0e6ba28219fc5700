/* The row of a stem: its name, mute, solo, volume, level, download and spectrogram. */

import { size, title } from "./words.js";

const QUIETEST = -60; // dB at the left end of the meter
const FALL = 1.2; // dB a frame by which the meter falls at most, so that it can be read
const SPOKEN = 250; // ms between two values for assistive technology

export class StemRow {
  #level = QUIETEST;
  #spoken = 0;
  channel = { volume: 1, isMuted: false, isSolo: false }; // as the user set it

  /** `changed` is called when `channel` has changed. */
  constructor(stem, colour, changed) {
    this.element = document.getElementById("stem-row").content.firstElementChild.cloneNode(true);
    this.changed = changed;
    const find = (selector) => this.element.querySelector(selector);
    const name = title(stem.name);
    this.element.dataset.colour = colour;
    this.element.dataset.stem = stem.name;
    this.element.setAttribute("aria-label", name);
    find(".label").textContent = name;
    [this.mute, this.solo, this.meter, this.bar] = [".mute", ".solo", ".meter", ".meter div"].map(find);
    [this.strip, this.canvas] = [".strip", "canvas"].map(find);
    this.mute.onclick = () => this.press("isMuted");
    this.solo.onclick = () => this.press("isSolo");
    this.mute.setAttribute("aria-label", `Mute ${name}`);
    this.solo.setAttribute("aria-label", `Solo ${name}`);
    this.meter.setAttribute("aria-label", `Level of ${name}, dB`);
    const volume = find(".volume");
    volume.setAttribute("aria-label", `Volume of ${name}`);
    volume.oninput = () => {
      volume.setAttribute("aria-valuetext", `${Math.round(100 * volume.value)} %`);
      this.channel.volume = Number(volume.value);
      this.changed();
    };
    volume.ondblclick = () => {
      volume.value = 1;
      volume.oninput();
    };
    const get = find(".get");
    get.href = `${stem.url}${stem.url.includes("?") ? "&" : "?"}download=1`;
    get.title = `Download ${name}, ${size(stem.bytes)}`;
    get.setAttribute("aria-label", get.title);
  }

  /** Switch `what`: "isMuted" or "isSolo". */
  press(what) {
    this.channel[what] = !this.channel[what];
    (what === "isMuted" ? this.mute : this.solo).setAttribute("aria-pressed", String(this.channel[what]));
    this.changed();
  }

  heard(isHeard) {
    this.element.classList.toggle("is-silent", !isHeard);
  }

  /** Show `db` below full scale. */
  level(db) {
    this.#level = Math.max(QUIETEST, Math.min(0, db), this.#level - FALL);
    if (db === -Infinity) this.#level = QUIETEST;
    this.bar.style.setProperty("--level", 1 - this.#level / QUIETEST);
    this.meter.dataset.now = db;
    if (performance.now() - this.#spoken < SPOKEN) return;
    this.#spoken = performance.now();
    this.meter.setAttribute("aria-valuenow", Math.round(this.#level));
  }
}
