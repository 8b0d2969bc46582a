// Keeps the list of nodes true while the page is open. The server renders every row; this file only asks for a row again
// when an event says that something changed, and adds tasks and lines to a row's activity as they happen.

/** Events of a node come in bursts: its row is asked for once, this many milliseconds after the first. */
const BURST = 100;

/** The pause before a row that could not be had is asked for again, in milliseconds. */
const PAUSE = 2000;

/** How often the rows of watched nodes are asked for, in milliseconds: when a node was last seen is no event. */
const WATCH = 60_000;

/** The most items that an activity keeps. */
const MOST_ITEMS = 1000;

const list = document.querySelector("[data-nodes]");
const banner = document.querySelector("[data-connection]");
const clockAhead = Date.parse(list.dataset.now) - Date.now();

/** The number of the newest event that this page has had. */
let last = Number(list.dataset.after);

/** How often a stream of this page's own was tried. */
let tries = 0;

/** How the asking for each node's row stands. */
const asked = new Map();

/** Tasks and lines of a node that have no log to go to yet. */
const early = new Map();

// ---- Following

function follow() {
  let worker;
  try {
    worker = new SharedWorker(list.dataset.worker, { type: "module" });
  } catch {
    followAlone();
    return;
  }
  const say = (message) => worker.port.postMessage(message);
  const isHere = () => say({ after: last });
  // The worker could not be loaded.
  worker.onerror = followAlone;
  worker.port.onmessage = ({ data }) => (data.ping ? isHere() : told(data));
  addEventListener("pagehide", () => say({ bye: true }));
  addEventListener("pageshow", (event) => event.persisted && isHere());
  isHere();
}

/** Follows by a stream of this page's own, in a browser that shares none. */
async function followAlone() {
  tries += 1;
  let EventStream;
  try {
    // Another address each time: a browser may remember that it could not have a module.
    ({ EventStream } = await import(`${list.dataset.worker}&try=${tries}`));
  } catch {
    // The server went away between the page and its scripts. When it is back, the shared worker may well be had.
    connection("lost");
    setTimeout(follow, PAUSE);
    return;
  }
  const stream = new EventStream(told);
  addEventListener("pagehide", () => stream.close());
  addEventListener("pageshow", (event) => event.persisted && stream.open(last));
  stream.open(last);
}

function told({ event, state, gone, reset }) {
  if (event && event.seq > last) {
    last = event.seq;
    happened(event);
  }
  if (state) connection(state);
  if (gone) logIn();
  // The database is an earlier one: what this page shows may never have happened. Its address may be a form's, which a
  // reload would send again.
  if (reset) location.replace(list.dataset.here);
}

function logIn() {
  location.assign(`/login?next=${encodeURIComponent(list.dataset.here)}`);
}

const CONNECTION = { live: "Live", lost: "Connection lost, trying again" };

function connection(state) {
  const before = banner.dataset.state;
  if (before === state) return;
  banner.dataset.state = state;
  banner.querySelector("[data-words]").textContent = CONNECTION[state];
  if (state !== "live") return;
  for (const [id, work] of asked) if (work.isDue) ask(id);
  // Events of a long absence may be gone: the server keeps them for a while only.
  if (before === "lost") for (const row of list.children) ask(row.dataset.node);
}

// ---- Events

function happened(event) {
  if (!event.node_id || !belongsHere(event.node_id)) return;
  if (event.kind === "task" || event.kind === "log") note(event);
  else ask(event.node_id);
}

function rowOf(id) {
  return list.querySelector(`:scope > [data-node="${CSS.escape(id)}"]`);
}

/** Whether a node is shown on this page of the list, or should be: ids rise with time, and the newest are on top. */
function belongsHere(id) {
  if (rowOf(id)) return true;
  const rows = list.children;
  const isBelow = rows.length > 0 && id < rows[rows.length - 1].dataset.node;
  return "first" in list.dataset && !(isBelow && "more" in list.dataset);
}

/** Adds a task or a line to its job's log; where the row shows an earlier job, as soon as it shows this one. */
function note(event) {
  const log = rowOf(event.node_id)?.querySelector("[data-events]");
  if (log && event.job_id < log.dataset.job) return;
  if (log && event.job_id === log.dataset.job) {
    append(log, event);
    return;
  }
  if (!early.has(event.node_id)) early.set(event.node_id, []);
  early.get(event.node_id).push(event);
  ask(event.node_id);
}

function append(log, event) {
  // The server may have rendered it already.
  if (event.seq <= Number(log.dataset.last)) return;
  log.dataset.last = event.seq;
  const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 24;
  log.append(item(event));
  while (log.childElementCount > MOST_ITEMS) log.firstElementChild.remove();
  if (isAtEnd) log.scrollTop = log.scrollHeight;
}

/** The same item that the server renders from an event. */
function item({ seq, at, kind, data }) {
  const made = document.createElement("li");
  made.dataset.seq = seq;
  made.dataset.kind = kind;
  made.dataset.status = (kind === "task" ? data.status : data.stream) ?? "";
  const time = document.createElement("time");
  time.dateTime = at;
  time.textContent = at.slice(11, 19);
  made.append(time, " ", span("said", (kind === "task" ? data.name : data.line) ?? ""));
  const took = data.duration_ms === undefined ? undefined : duration(data.duration_ms);
  const parts = kind === "task" ? [data.status, took, data.message].filter((part) => part !== undefined) : [];
  if (parts.length > 0) made.append(" ", span("note", parts.join(", ")));
  return made;
}

function span(name, text) {
  const made = document.createElement("span");
  made.className = name;
  made.textContent = text;
  return made;
}

// ---- Rows

/** Asks for a node's row soon. One request for a row is under way at a time, so an old answer never comes after a new one. */
function ask(id, wait = BURST) {
  if (!asked.has(id)) asked.set(id, { isDue: false, isUnderWay: false, timer: undefined });
  const work = asked.get(id);
  work.isDue = true;
  if (work.isUnderWay || work.timer !== undefined) return;
  work.timer = setTimeout(() => {
    work.timer = undefined;
    // Without a connection it stays due until there is one.
    if (banner.dataset.state === "live") load(id, work);
  }, wait);
}

async function load(id, work) {
  work.isDue = false;
  work.isUnderWay = true;
  let wait = BURST;
  try {
    const answer = await fetch(`/nodes/${encodeURIComponent(id)}/row`);
    if (answer.status === 401) logIn();
    else if (answer.ok) place(id, await answer.text());
    else if (answer.status !== 404) throw new Error(`status ${answer.status}`);
  } catch {
    work.isDue = true;
    wait = PAUSE;
  }
  work.isUnderWay = false;
  if (work.isDue) ask(id, wait);
}

function place(id, html) {
  const fresh = new DOMParser().parseFromString(html, "text/html").querySelector("[data-node]");
  const row = rowOf(id);
  if (row) update(row, fresh);
  else if (fresh.dataset.status !== "decommissioned") insert(fresh);
  keepTimes();
  const log = rowOf(id)?.querySelector("[data-events]");
  if (!log) return;
  const waiting = early.get(id) ?? [];
  early.delete(id);
  // What is of another job is none of the node's own, but of a site on it; or it is newer than the answer, and comes with the
  // row that its own status asks for.
  for (const event of waiting) if (event.job_id === log.dataset.job) append(log, event);
}

function insert(fresh) {
  const below = [...list.children].find((row) => row.dataset.node < fresh.dataset.node);
  list.insertBefore(fresh, below ?? null);
  scrollToEnd(fresh);
  announce(fresh);
}

/** Takes over what changed. The log of the same job stays: events have been added to it since. */
function update(row, fresh) {
  const changed = ["status", "ready"].filter((name) => row.dataset[name] !== fresh.dataset[name]);
  for (const name of changed) row.dataset[name] = fresh.dataset[name];
  for (const part of fresh.querySelectorAll(":scope > [data-part]")) {
    const shown = row.querySelector(`:scope > [data-part="${part.dataset.part}"]`);
    const isSameLog = part.dataset.part === "log" && jobOf(shown) === jobOf(part);
    if (!isSameLog && !shown.isEqualNode(part)) replace(row, shown, part);
  }
  if (changed.length > 0) announce(row);
}

function jobOf(part) {
  return part.querySelector("[data-events]")?.dataset.job;
}

/** Replaces a part of a row; what is open stays open, and the focus stays where it is as far as that is still there. */
function replace(row, shown, part) {
  for (const details of part.querySelectorAll("details[data-key]")) {
    const before = shown.querySelector(`details[data-key="${details.dataset.key}"]`);
    if (before) details.open = before.open;
  }
  const focused = shown.contains(document.activeElement) ? document.activeElement : undefined;
  shown.replaceWith(part);
  scrollToEnd(part);
  if (focused) ((focused.id && document.getElementById(focused.id)) || row).focus({ preventScroll: true });
}

function scrollToEnd(part) {
  const log = part.querySelector("[data-events]");
  if (log) log.scrollTop = log.scrollHeight;
}

function announce(row) {
  const name = row.querySelector("h3").textContent.trim();
  const status = row.querySelector(".pill").lastChild.textContent.trim();
  const ready = row.dataset.ready === "true" ? "ready" : "not ready";
  document.querySelector("[data-announce]").textContent = `${name}: ${status}, ${ready}.`;
}

// ---- Times, in the words of the server (view/when.rs)

function keepTimes() {
  const now = Date.now() + clockAhead;
  for (const time of list.querySelectorAll("time[data-relative]")) {
    const words = relative(Date.parse(time.dateTime), now);
    if (time.textContent !== words) time.textContent = words;
  }
  for (const step of list.querySelectorAll("[data-running-since]")) {
    step.textContent = duration(Math.max(0, now - Date.parse(step.dataset.runningSince)));
  }
}

function relative(moment, now) {
  if (moment > now + 5000) return `in ${rough(moment - now)}`;
  return now - moment < 5000 ? "just now" : `${rough(now - moment)} ago`;
}

function rough(millis) {
  const seconds = Math.floor(millis / 1000);
  const units = [[86_400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]];
  const [size, unit] = units.find(([size]) => seconds >= size) ?? [1, "second"];
  const count = Math.floor(seconds / size);
  return `${count} ${unit}${count === 1 ? "" : "s"}`;
}

function duration(millis) {
  const seconds = Math.floor(millis / 1000);
  const two = (number) => String(number).padStart(2, "0");
  if (seconds < 10) return `${(millis / 1000).toFixed(1)} s`;
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${two(Math.floor((seconds % 3600) / 60))} min`;
}

function watch() {
  if (document.hidden) return;
  for (const row of list.querySelectorAll(':scope > [data-status="active"], :scope > [data-status="unreachable"]')) {
    ask(row.dataset.node);
  }
}

for (const row of list.children) scrollToEnd(row);
// What is not shown cannot be scrolled: a log that is opened is at its end only now.
list.addEventListener("toggle", ({ target }) => target.open && scrollToEnd(target), { capture: true });
keepTimes();
setInterval(keepTimes, 1000);
setInterval(watch, WATCH);
follow();
