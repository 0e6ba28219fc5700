/* What the server is asked. Every error says in one line what is wrong. */

/** `status` is HTTP's, 0 where no answer came; `after` is the number of seconds to wait before asking again. */
export class ApiError extends Error {
  constructor(status, message, after = null) {
    super(message);
    this.status = status;
    this.after = after;
  }
}

const SILENT = "The server does not answer.";

function refusal(status, text, after) {
  let message = `The server answered ${status}.`;
  try {
    message = JSON.parse(text).error ?? message;
  } catch {
    // a proxy's page rather than the server's JSON
  }
  return new ApiError(status, message, after === null ? null : Number(after) || null);
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, credentials: "same-origin", cache: "no-store" });
  } catch {
    throw new ApiError(0, SILENT);
  }
  if (!answer.ok) throw refusal(answer.status, await answer.text(), answer.headers.get("Retry-After"));
  return answer;
}

export const engines = async () => (await ask("/api/engines")).json();
export const jobs = async () => (await (await ask("/api/jobs")).json()).jobs;
export const remove = (id) => ask(`/api/jobs/${id}`, { method: "DELETE" });
export const bytes = async (url) => new Uint8Array(await (await ask(url)).arrayBuffer());

export const login = (token) =>
  ask("/api/login", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ token }),
  });

/**
 * Send a song; `fields` are the form's others. `told` is called with the part that is sent, 0 to 1. Gives the job.
 * `fetch` would not tell how much is sent. Returns {job: a promise, stop()}.
 */
export function send(file, fields, told) {
  const request = new XMLHttpRequest();
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) if (value) form.append(name, value);
  form.append("file", file, file.name);
  const job = new Promise((resolve, reject) => {
    request.upload.onprogress = (event) => event.lengthComputable && told(event.loaded / event.total);
    request.onerror = () => reject(new ApiError(0, SILENT));
    request.onabort = () => reject(new ApiError(-1, "stopped"));
    request.onload = () => {
      const { status, responseText } = request;
      if (status === 202) resolve(JSON.parse(responseText));
      else reject(refusal(status, responseText, request.getResponseHeader("Retry-After")));
    };
  });
  request.open("POST", "/api/jobs");
  request.send(form);
  return { job, stop: () => request.abort() };
}

/** Call `told` with a job at each of its changes until it is at an end. Returns what stops that. */
export function follow(id, told) {
  const source = new EventSource(`/api/jobs/${id}/events`);
  source.addEventListener("job", (event) => told(JSON.parse(event.data)));
  return () => source.close();
}
