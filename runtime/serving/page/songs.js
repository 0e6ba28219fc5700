/* The songs of the page: files that are being sent and the server's jobs, in one list, newest first. */

import * as api from "./api.js";

const SOON = 2000; // ms between two looks while something is going on
const LATER = 15000; // ms otherwise
const FOLLOWED = 2; // jobs that are followed by events: a browser keeps six connections to a server
const RETRY = 3; // s until a song is sent again to a server that did not answer

export const isActive = (song) => ["sending", "held", "queued", "waiting", "working"].includes(song.state);

/**
 * Events: "change" after each change of `list`; "connection" when `connected` changes; "token" where one is asked for.
 * A song is a job of the API or, until the server has it, {id, name, state: "queued" | "sending" | "held" | "refused",
 * progress, error, file, again: time in ms}.
 */
export class Songs extends EventTarget {
  list = [];
  connected = true;
  limits = null;
  #followed = new Map();
  #timer = null;
  #sending = null;
  #gone = new Set();
  #count = 0;

  /** Look at the server now, and again and again. */
  async watch() {
    clearTimeout(this.#timer);
    try {
      this.#merge(await api.jobs());
      this.#connect(true);
    } catch (error) {
      if (error.status === 401) this.dispatchEvent(new Event("token"));
      else this.#connect(false);
    }
    const busy = !this.connected || this.list.some(isActive);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.watch(), busy ? SOON : LATER);
  }

  /** Send `files`, one after the other, with the form's `fields`. */
  add(files, fields) {
    for (const file of files) {
      this.#count += 1;
      const song = {
        id: `file-${this.#count}`,
        name: file.name,
        state: "queued",
        progress: 0,
        error: null,
        file,
        fields,
      };
      const limit = this.limits?.upload_bytes;
      if (file.size === 0) this.#refuse(song, "The file is empty.");
      else if (limit && file.size > limit) this.#refuse(song, "The file is larger than this server takes.");
      this.list.unshift(song);
    }
    this.#changed();
    this.#send();
  }

  again(song) {
    Object.assign(song, { state: "queued", error: null, progress: 0 });
    this.#changed();
    this.#send();
  }

  /** Cancel or delete a song. */
  async remove(song) {
    if (song.file) {
      if (this.#sending?.song === song) this.#sending.stop();
    } else {
      this.#gone.add(song.id);
      this.#unfollow(song.id);
    }
    this.list = this.list.filter((each) => each !== song);
    this.#changed();
    if (song.file) return;
    try {
      await api.remove(song.id);
    } catch (error) {
      if (error.status !== 404) this.#gone.delete(song.id); // the next look shows it again
    }
  }

  async #send() {
    if (this.#sending) return;
    const song = this.list.findLast((each) => each.state === "queued");
    if (!song) return;
    song.state = "sending";
    const { job, stop } = api.send(song.file, song.fields, (part) => {
      song.progress = part;
      this.#changed();
    });
    this.#sending = { song, stop };
    this.#changed();
    try {
      const made = await job;
      this.list = this.list.filter((each) => each.id !== made.id).map((each) => (each === song ? made : each));
      this.watch();
    } catch (error) {
      if (error.status === 401) this.dispatchEvent(new Event("token"));
      if ([0, 401, 429, 503].includes(error.status)) this.#hold(song, error);
      else if (error.status > 0) this.#refuse(song, error.message);
    }
    this.#sending = null;
    this.#changed();
    this.#send();
  }

  #hold(song, error) {
    const seconds = Math.min(error.after ?? RETRY, 60);
    Object.assign(song, { state: "held", error: error.message, again: Date.now() + 1000 * seconds, progress: 0 });
    const tick = () => {
      if (song.state !== "held" || !this.list.includes(song)) return;
      if (Date.now() >= song.again) this.again(song);
      else {
        this.#changed();
        setTimeout(tick, 1000);
      }
    };
    setTimeout(tick, 1000);
  }

  #refuse(song, message) {
    Object.assign(song, { state: "refused", error: message });
  }

  #merge(jobs) {
    const local = this.list.filter((each) => each.file);
    const known = new Map(this.list.map((each) => [each.id, each]));
    const fresh = jobs.filter((job) => !this.#gone.has(job.id)).map((job) => newer(known.get(job.id), job));
    this.list = [...local, ...fresh];
    this.#follow();
    this.#changed();
  }

  #follow() {
    const active = this.list.filter((each) => !each.file && isActive(each));
    const first = active
      .sort((a, b) => rank(a) - rank(b))
      .slice(0, FOLLOWED)
      .map((job) => job.id);
    for (const id of this.#followed.keys()) if (!first.includes(id)) this.#unfollow(id);
    for (const id of first)
      if (!this.#followed.has(id))
        this.#followed.set(
          id,
          api.follow(id, (job) => this.#update(job)),
        );
  }

  #unfollow(id) {
    this.#followed.get(id)?.();
    this.#followed.delete(id);
  }

  #update(job) {
    if (this.#gone.has(job.id)) return;
    this.list = this.list.map((each) => (each.id === job.id ? newer(each, job) : each));
    if (!isActive(job)) {
      this.#unfollow(job.id);
      this.watch(); // the next one is to be followed
    }
    this.#changed();
  }

  #connect(connected) {
    if (connected === this.connected) return;
    this.connected = connected;
    if (!connected) for (const id of [...this.#followed.keys()]) this.#unfollow(id);
    this.dispatchEvent(new Event("connection"));
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

const rank = (job) => (job.state === "working" ? 0 : (job.place ?? 1000));

/** An answer that was on its way while an event arrived must not undo the end of a job. */
const newer = (old, job) =>
  old && !old.file && !isActive(old) && isActive(job) && old.tries >= job.tries ? old : job;
