/* The page put together: songs, list, player, keys, theme and token. */

import * as api from "./api.js";
import { bindKeys } from "./keys.js";
import { List, words } from "./list.js";
import { Player } from "./player.js";
import { isActive, Songs } from "./songs.js";
import { bindTheme } from "./theme.js";
import { about, percent, size } from "./words.js";

const $ = (id) => document.getElementById(id);
const songs = new Songs();
const player = new Player();
const list = new List($("list"), $("song-row"), songs, open);
const said = new Map(); // what was said last of a song

function open(job, byUser = true) {
  player.open(job);
  show();
  if (byUser) $("song-name").focus();
}

/** One view at a time: nothing yet, a song on its way, or the player. */
function show() {
  if (player.job && !songs.list.some((song) => song.id === player.job.id)) player.close();
  const done = songs.list.find((song) => song.state === "done");
  if (!player.job && done && !songs.list.some(isActive)) return open(done, false);
  const onTheWay = songs.list.findLast((song) => song.state === "working") ?? songs.list.findLast(isActive);
  document.body.dataset.view = player.job ? "player" : onTheWay ? "waiting" : songs.list.length ? "list" : "empty";
  $("player").hidden = !player.job;
  $("waiting").hidden = Boolean(player.job) || !onTheWay;
  if (onTheWay && !player.job) {
    $("waiting-name").textContent = onTheWay.name;
    $("waiting-words").textContent = words(onTheWay);
    const isChecked = onTheWay.state === "sending" && onTheWay.progress >= 1;
    $("waiting-part").textContent = isChecked ? "…" : percent(onTheWay.progress);
    $("waiting-progress").value = isChecked ? 0 : onTheWay.progress;
    // A file that is still here is lost with the page; one that the server has is not.
    $("waiting-more").textContent = onTheWay.file
      ? "Keep this page open until the song is sent."
      : "You may close this page: the song is in the list when you come back.";
  }
  const subject = player.job?.name ?? (onTheWay ? `${percent(onTheWay.progress)} ${onTheWay.name}` : null);
  document.title = subject ? `${subject} · Stems` : "Stems";
  list.show(player.job?.id);
}

/** Tell assistive technology of each state, and of every quarter of a song. */
function say() {
  for (const song of songs.list) {
    const quarter = song.state === "working" ? Math.floor(4 * song.progress) : "";
    const key = `${song.state} ${quarter}`;
    if (said.get(song.id) !== key && said.has(song.id)) $("said").textContent = `${song.name}: ${words(song)}`;
    const isNew = said.has(song.id) && !said.get(song.id).startsWith("done");
    said.set(song.id, key);
    if (isNew && song.state === "done" && !player.job) open(song, false);
  }
}

function send(files) {
  if (files.length) songs.add([...files], { engine: $("engine").value, format: $("format").value });
}

function describe({ engines, limits }) {
  songs.limits = { ...limits };
  const most = `up to ${about(limits.seconds)} and ${size(limits.upload_bytes)}`;
  $("limits").textContent =
    `WAV, FLAC, MP3 or Ogg, ${most}. Songs stay on this server ` +
    `and are deleted ${about(3600 * limits.keep_hours)} after they are done.`;
  const option = (value, text) => new Option(text, value);
  $("engine").replaceChildren(...engines.map(({ name, stems }) => option(name, `${name}: ${stems.join(", ")}`)));
  $("engine-field").hidden = engines.length < 2;
  $("engine-words").textContent = engines.length === 1 ? `Stems: ${engines[0].stems.join(", ")}.` : "";
  $("format").replaceChildren(
    option("", "as the song"),
    ...(limits.formats ?? []).map((format) => option(format, format.toUpperCase())),
  );
  $("settings").hidden = false;
}

async function start() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token !== null) {
    history.replaceState(null, "", location.pathname);
    await api.login(token).catch(() => {}); // what follows asks for another one
  }
  try {
    describe(await api.engines());
    if ($("login").open) $("login").close();
  } catch (error) {
    if (error.status === 401) askForToken();
    else {
      $("connection").textContent = "The server does not answer. Trying again…";
      setTimeout(start, 2000);
    }
    return;
  }
  $("connection").textContent = "";
  songs.watch();
}

function askForToken() {
  if (!$("login").open) $("login").showModal();
}

$("login-form").onsubmit = async (event) => {
  event.preventDefault();
  try {
    await api.login($("token").value);
    $("login-error").textContent = "";
    start();
  } catch (error) {
    $("login-error").textContent = error.status === 401 ? "That is not the token." : error.message;
  }
};

songs.addEventListener("change", () => (say(), show()));
songs.addEventListener("token", askForToken);
songs.addEventListener("connection", () => {
  $("connection").textContent = songs.connected ? "" : "The server does not answer. Trying again…";
});

$("files").onchange = (event) => {
  send(event.target.files);
  event.target.value = ""; // the same file may be chosen again
};

let inside = 0; // dragenter and dragleave come from every element under the pointer
for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    if (name === "dragenter") inside += 1;
    if (name === "dragleave") inside -= 1;
    if (name === "drop") {
      inside = 0;
      send(event.dataTransfer.files);
    }
    document.body.classList.toggle("is-over", inside > 0);
  });
}

bindTheme($("theme"), () => player.repaint());
bindKeys(player, $("keys"), $("help"));
start();
