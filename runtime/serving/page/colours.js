/* A colour for each stem, and the colours of its spectrogram on dark and on light ground. */

// Names as separators use them; the colours themselves are variables of style.css, for both themes.
const KNOWN = {
  vocals: "rose",
  vocal: "rose",
  lead: "rose",
  backing: "pink",
  instrumental: "blue",
  accompaniment: "blue",
  drums: "amber",
  bass: "violet",
  other: "teal",
  guitar: "green",
  piano: "pink",
};
const SPARE = ["teal", "amber", "violet", "green", "pink", "blue", "rose"];

/** One colour a stem, in the order of `names`: the usual one, else one that no other has. */
export function colours(names) {
  const taken = new Set(names.map((name) => KNOWN[name]).filter(Boolean));
  return names.map((name, place) => {
    if (KNOWN[name]) return KNOWN[name];
    const free = SPARE.find((colour) => !taken.has(colour)) ?? SPARE[place % SPARE.length];
    taken.add(free);
    return free;
  });
}

/** 256 pixels (bytes R, G, B, A in memory) from the ground over the colour to its brightest or darkest. */
export function palette(name) {
  const stops = ["ground", name, "peak"].map(resolved);
  const table = new Uint32Array(256);
  const bytes = new Uint8ClampedArray(table.buffer);
  for (let value = 0; value < 256; value += 1) {
    const part = value / 255;
    const [from, to, at] =
      part < 0.62 ? [stops[0], stops[1], part / 0.62] : [stops[1], stops[2], (part - 0.62) / 0.38];
    // Quiet parts stay near the ground, so that the shape of the sound is seen rather than its noise.
    const weight = part < 0.62 ? at ** 1.6 : at * 0.85;
    for (let channel = 0; channel < 3; channel += 1) {
      bytes[4 * value + channel] = from[channel] + weight * (to[channel] - from[channel]);
    }
    bytes[4 * value + 3] = 255;
  }
  return table;
}

/** The variable `name` of style.css in the present theme as [red, green, blue]. */
function resolved(name) {
  const probe = document.body.appendChild(document.createElement("span"));
  probe.style.color = `var(--${name})`;
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour.match(/\d+/g).slice(0, 3).map(Number);
}
