/* The list of songs: one row each, updated in place so that the focus stays where it is. */

import { isActive } from "./songs.js";
import { about, percent, time } from "./words.js";

const SURE = 4000; // ms in which a second press deletes

/** The state of a song in words. */
export function words(song) {
  switch (song.state) {
    case "queued":
      return "Next to be sent";
    case "sending":
      return song.progress < 1 ? `Sending, ${percent(song.progress)}` : "Sent, being checked";
    case "held":
      return `${sentence(song.error)} Sent again in ${about((song.again - Date.now()) / 1000)}.`;
    case "refused":
      return `Refused: ${song.error}`;
    case "waiting":
      return song.place > 1 ? `Waiting, place ${song.place} in the queue` : "Waiting, next in the queue";
    case "working": {
      const left = song.seconds_left === null ? "" : `, ${about(song.seconds_left)} left`;
      return `Separating, ${percent(song.progress)}${left}`;
    }
    case "done":
      return `Done${song.seconds ? `, ${time(song.seconds)}` : ""}`;
    case "failed":
      return `Failed: ${song.error}`;
    default:
      return "Cancelled";
  }
}

function sentence(text) {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}

/** Shows `songs` in the element `list`. `open` is called with the job of a row that is pressed. */
export class List {
  #rows = new Map();

  constructor(list, template, songs, open) {
    Object.assign(this, { list, template, songs, open });
  }

  show(opened) {
    for (const [id, row] of this.#rows) {
      if (!this.songs.list.some((song) => song.id === id)) {
        row.remove();
        this.#rows.delete(id);
      }
    }
    this.songs.list.forEach((song, place) => {
      let row = this.#rows.get(song.id);
      if (!row) this.#rows.set(song.id, (row = this.#make()));
      if (this.list.children[place] !== row) this.list.insertBefore(row, this.list.children[place] ?? null);
      this.#fill(row, song, song.id === opened);
    });
  }

  #make() {
    const row = this.template.content.firstElementChild.cloneNode(true);
    row.querySelector(".open").onclick = () => this.open(row.song);
    row.querySelector(".again").onclick = () => this.songs.again(row.song);
    row.querySelector(".remove").onclick = () => this.#remove(row);
    return row;
  }

  #fill(row, song, opened) {
    row.song = song;
    row.dataset.state = song.state;
    const [open, again, remove] = row.querySelectorAll("button");
    set(row.querySelector(".name"), song.name);
    set(row.querySelector(".words"), words(song));
    open.disabled = song.state !== "done";
    if (opened) open.setAttribute("aria-current", "true");
    else open.removeAttribute("aria-current");
    again.hidden = song.state !== "refused";
    again.setAttribute("aria-label", `Try again: ${song.name}`);
    const verb = row.sure ? "Sure?" : isActive(song) ? "Cancel" : "Delete";
    set(remove, verb);
    remove.setAttribute("aria-label", row.sure ? `Sure? Delete ${song.name}` : `${verb} ${song.name}`);
    const bar = row.querySelector("progress");
    bar.hidden = !["sending", "working"].includes(song.state);
    bar.setAttribute("aria-label", `${song.state === "sending" ? "Sending" : "Separating"} ${song.name}`);
    if (song.state === "sending" && song.progress >= 1) bar.removeAttribute("value");
    else bar.value = song.progress;
  }

  #remove(row) {
    const song = row.song;
    if (song.state === "done" && !row.sure) {
      row.sure = true;
      setTimeout(() => {
        row.sure = false;
        if (row.isConnected) this.#fill(row, row.song, row.querySelector("[aria-current]") !== null);
      }, SURE);
      this.#fill(row, song, row.querySelector("[aria-current]") !== null);
      return;
    }
    const next = row.nextElementSibling ?? row.previousElementSibling;
    (next?.querySelector(".remove") ?? document.querySelector("#files")).focus();
    this.songs.remove(song);
  }
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
