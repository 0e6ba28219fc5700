/* What is drawn along the time axis besides spectrograms: its ruler, and the parts with voice. */

import { time } from "./words.js";

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 3600]; // s between two ticks
const ROOM = 64; // pixels that a tick and its words take

/** Ticks of a song of `seconds`, as close as their words allow. */
export function drawRuler(ruler, seconds) {
  const most = Math.max(2, ruler.clientWidth / ROOM);
  const step = STEPS.find((each) => seconds / each <= most) ?? STEPS.at(-1);
  const ticks = [];
  for (let at = 0; at < seconds - step / 3; at += step) {
    const tick = document.createElement("span");
    tick.textContent = time(at);
    tick.style.left = `${(100 * at) / seconds}%`;
    ticks.push(tick);
  }
  ruler.replaceChildren(...ticks);
}

/** `parts`, [{from, to}] in seconds, as bars in `band`, and in its label for those who do not see them. */
export function drawParts(band, parts, seconds) {
  const bars = parts.map(({ from, to }) => {
    const bar = document.createElement("i");
    bar.style.left = `${(100 * from) / seconds}%`;
    bar.style.width = `${(100 * (to - from)) / seconds}%`;
    return bar;
  });
  band.replaceChildren(...bars);
  const words = parts.map(({ from, to }) => `${time(from)} to ${time(to)}`).join(", ");
  band.setAttribute("aria-label", words ? `Voice from ${words}` : "No voice found");
}
