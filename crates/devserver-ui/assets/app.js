// Keeps a page true while it is open. The server renders every page; when an event says that something changed, this file
// asks for the page again and takes over what differs. Everything else here makes forms and links that work without it
// more comfortable: dialogs, copying, a slug that follows the name.

import { isTyped, morph } from "./morph.js";

/** Events come in bursts: the page is asked for once, this many milliseconds after the first. */
const BURST = 150;

/** The least time between two answers and the next question, so that a busy log does not keep the server busy too. */
const REST = 400;

/** The pause before a page that could not be had is asked for again, in milliseconds. */
const PAUSE = 2000;

/** How long a page may take, in milliseconds: a connection that hangs must not keep it from being asked for again. */
const LIMIT = 30_000;

/** How often a watched page is asked for, in milliseconds: how far a step that says nothing has come is no event. */
const WATCH = 10_000;

/** Every how many times also where nothing runs: when a node was last seen is no event either. */
const REST_WATCH = 6;

const main = document.querySelector("main");
const banner = document.querySelector("[data-connection]");
const dialog = document.querySelector("[data-dialog]");
let clockAhead = Date.parse(main.dataset.now) - Date.now();

/** The number of the newest event that this page has had. */
let last = Number(main.dataset.after);

/** How often a stream of this page's own was tried. */
let tries = 0;

/** Follows once more, after there was no session to follow with. */
let followAgain = () => {};

// ---- Following

function follow() {
  let worker;
  try {
    worker = new SharedWorker(main.dataset.worker, { type: "module" });
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
  followAgain = () => say({ after: last, again: true });
  isHere();
}

/** Follows by a stream of this page's own, in a browser that shares none. */
async function followAlone() {
  tries += 1;
  let EventStream;
  try {
    // Another address each time: a browser may remember that it could not have a module.
    ({ EventStream } = await import(`${main.dataset.worker}&try=${tries}`));
  } catch {
    // The server went away between the page and its scripts. When it is back, the shared worker may well be had.
    connection("lost");
    setTimeout(follow, PAUSE);
    return;
  }
  const stream = new EventStream(told);
  addEventListener("pagehide", () => stream.close());
  addEventListener("pageshow", (event) => event.persisted && stream.open(last));
  followAgain = () => stream.open(last);
  followAgain();
}

function told({ event, state, gone, reset }) {
  if (event && event.seq > last) {
    last = event.seq;
    if (isOfInterest(event)) changed();
  }
  if (state) connection(state);
  if (gone) logIn();
  // The database is an earlier one: what this page shows may never have happened. Its address may be a form's, which a
  // reload would send again.
  if (reset) location.replace(main.dataset.here);
}

/** A page about one job shows all of it; the others show statuses and steps. */
function isOfInterest({ job_id, kind }) {
  if (main.dataset.job) return job_id === main.dataset.job;
  return kind === "status" || kind === "step";
}

function logIn() {
  if (dialog.open || isTyped(main)) connection("ended");
  else location.assign(`/login?next=${encodeURIComponent(main.dataset.here)}`);
}

const CONNECTION = {
  live: "Live",
  ended: "Your session has ended: log in in another tab, then go on here",
  lost: "Connection lost, trying again",
  stale: "This page could not be brought up to date, trying again",
};

function connection(state) {
  const before = banner.dataset.state;
  if (before === state) return;
  banner.dataset.state = state;
  banner.querySelector("[data-words]").textContent = CONNECTION[state];
  // Events of a long absence may be gone: the server keeps them for a while only.
  if (state === "live" && (before === "lost" || asking.isDue)) changed();
}

// ---- The page, anew

/** How the asking stands. One request is under way at a time, so an old answer never comes after a new one. */
const asking = { isDue: false, isUnderWay: false, timer: undefined };

/** Asks for the page soon. */
function changed(wait = BURST) {
  asking.isDue = true;
  if (asking.isUnderWay || asking.timer !== undefined) return;
  asking.timer = setTimeout(() => {
    asking.timer = undefined;
    // Without a connection, or while nobody looks, it stays due.
    if (banner.dataset.state !== "lost" && banner.dataset.state !== "waiting" && !document.hidden) load();
  }, wait);
}

async function load() {
  asking.isDue = false;
  asking.isUnderWay = true;
  let wait = REST;
  try {
    const answer = await fetch(main.dataset.here, { headers: { accept: "text/html" }, signal: AbortSignal.timeout(LIMIT) });
    if (answer.redirected && new URL(answer.url).pathname === "/login") logIn();
    else if (answer.ok || answer.status === 404) take(await answer.text());
    else throw new Error(`status ${answer.status}`);
    if (banner.dataset.state === "stale") connection("live");
    if (banner.dataset.state === "ended" && !answer.redirected) followAgain();
  } catch {
    asking.isDue = true;
    wait = PAUSE;
    if (banner.dataset.state === "live") connection("stale");
  }
  asking.isUnderWay = false;
  if (asking.isDue) changed(wait);
}

function take(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html").querySelector("main");
  if (fresh.dataset.now) clockAhead = Date.parse(fresh.dataset.now) - Date.now();
  // What is not there any more is told by a page that names no place of its own.
  fresh.dataset.here ??= main.dataset.here;
  fresh.dataset.worker ??= main.dataset.worker;
  keepTimes(fresh);
  const before = said(main);
  const atEnd = new Set([...main.querySelectorAll("[data-events]")].filter(isAtEnd).map((log) => log.id));
  const focused = document.activeElement;
  morph(main, fresh);
  // What had the focus is gone: who goes on by keyboard does so here, not at the page's start.
  if (focused && !focused.isConnected) main.focus({ preventScroll: true });
  for (const log of main.querySelectorAll("[data-events]")) if (atEnd.has(log.id)) log.scrollTop = log.scrollHeight;
  announce(before, said(main));
  askNew();
}

function isAtEnd(log) {
  return log.scrollHeight - log.scrollTop - log.clientHeight < 24;
}

/** What screen readers are told when it changes, by what it is about. */
function said(tree) {
  return new Map([...tree.querySelectorAll("[data-say]")].map((about) => [about.dataset.say, about.textContent.trim()]));
}

function announce(before, now) {
  const news = [...now].filter(([about, words]) => before.get(about) !== words).map(([, words]) => words);
  if (news.length > 0) document.querySelector("[data-announce]").textContent = news.join(" ");
}

// ---- Times, in the words of the server (view/when.rs)

function keepTimes(tree) {
  const now = Date.now() + clockAhead;
  for (const time of tree.querySelectorAll("time[data-relative]")) {
    const words = relative(Date.parse(time.dateTime), now);
    if (time.textContent !== words) time.textContent = words;
  }
  for (const running of tree.querySelectorAll("[data-running-since]")) {
    running.textContent = duration(Math.max(0, now - Date.parse(running.dataset.runningSince)));
  }
}

function relative(moment, now) {
  if (moment > now + 5000) return `in ${rough(nearest(moment - now))}`;
  return now - moment < 5000 ? "just now" : `${rough(now - moment)} ago`;
}

/** The nearest whole number of the unit that it is told in: what ends in 30 days does so a moment later, too. */
function nearest(millis) {
  const seconds = Math.floor(millis / 1000);
  const unit = [86_400, 3600, 60].find((size) => seconds >= size) ?? 1;
  return Math.floor((seconds + Math.floor(unit / 2)) / unit) * unit * 1000;
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

// ---- Dialogs: what a link to `?confirm=` or `?form=` leads to, shown above the page

document.addEventListener("click", (event) => {
  const isPlain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
  const link = event.target.closest("a[data-opens-dialog]");
  if (link && isPlain) {
    event.preventDefault();
    open(link);
  }
  if (event.target.closest("dialog [data-close]")) {
    event.preventDefault();
    dialog.close();
  }
  const copier = event.target.closest("[data-copy]");
  if (copier) copy(copier);
});

/** How many dialogs were asked for: an answer that comes after another was asked for is nobody's any more. */
let opened = 0;

async function open(link) {
  opened += 1;
  const mine = opened;
  let answer, asked;
  try {
    answer = await fetch(link.href, { headers: { accept: "text/html" }, signal: AbortSignal.timeout(LIMIT) });
    asked = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-asks]");
  } catch {
    answer = undefined;
  }
  if (mine !== opened || dialog.open) return;
  if (answer?.ok && asked) {
    dialog.replaceChildren(document.adoptNode(asked));
    dialog.showModal();
    (dialog.querySelector("[autofocus]") ?? dialog.querySelector("input:not([type=hidden]), select, [data-close]"))?.focus();
    keepTimes(dialog);
  } else if (answer?.redirected && new URL(answer.url).pathname === "/login") {
    logIn();
  } else if (answer && !isTyped(main)) {
    // The page of its own says what is the matter.
    location.assign(link.href);
  } else if (banner.dataset.state === "live") {
    // Nothing answers, or there is something to lose: this page stays.
    connection("stale");
    changed(PAUSE);
  }
}

// Beside the dialog, not on its edge or its scrollbar, and not where a selection that began inside it ended.
dialog.addEventListener("pointerdown", ({ target, clientX, clientY }) => {
  const { left, right, top, bottom } = dialog.getBoundingClientRect();
  const isInside = clientX >= left && clientX <= right && clientY >= top && clientY <= bottom;
  if (target === dialog && !isInside) dialog.close();
});
// A menu that led to the dialog has done its work; the focus, which the dialog gives back to its link, goes to the menu.
dialog.addEventListener("close", () => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (menu.contains(document.activeElement)) menu.querySelector("summary").focus();
    menu.open = false;
  }
});
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});

/** Somebody looks at the page again, who may have logged in elsewhere meanwhile. */
function isLookedAt() {
  if (!document.hidden && (asking.isDue || banner.dataset.state === "ended")) changed();
}
document.addEventListener("visibilitychange", isLookedAt);
addEventListener("focus", isLookedAt);
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && event.target.closest?.("details.menu[open]");
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

// ---- A form is sent once, however often its button is pressed

document.addEventListener("submit", (event) => {
  // Its button says why; the server would say the same.
  if (event.submitter?.getAttribute("aria-disabled") === "true") {
    event.preventDefault();
    return;
  }
  if ("sent" in event.target.dataset) event.preventDefault();
  event.target.dataset.sent = "";
  // Who stopped the browser meanwhile may send it again.
  setTimeout(() => delete event.target.dataset.sent, LIMIT);
});
addEventListener("pageshow", ({ persisted }) => {
  // Who comes back by the browser's button comes back to the page, not to what was asked above it.
  if (persisted) dialog.close();
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  // A browser that goes back remembers what was chosen, which is not what the page shows.
  for (const form of document.querySelectorAll("form[data-shows]")) form.reset();
});

// ---- Copying

async function copy(button) {
  if ("copied" in button.dataset) return;
  const source = document.querySelector(button.dataset.copy);
  const text = source.matches("ol") ? [...source.children].map((line) => line.textContent.trim()).join("\n") : source.textContent;
  const words = [...button.childNodes];
  let told = "Copied";
  try {
    // Browsers keep the clipboard from pages of plain http on other hosts than this one.
    if (!navigator.clipboard) throw new Error("no clipboard");
    await navigator.clipboard.writeText(text);
  } catch {
    getSelection().selectAllChildren(source);
    if (!document.execCommand("copy")) told = "Selected: press Ctrl+C";
  }
  button.dataset.copied = "";
  button.replaceChildren(told);
  document.querySelector("[data-announce]").textContent = told;
  setTimeout(() => {
    delete button.dataset.copied;
    button.replaceChildren(...words);
  }, PAUSE);
}

// ---- A slug follows the name until somebody writes one

document.addEventListener("input", ({ target }) => {
  if (target.matches("[data-slug]")) target.dataset.slug = "own";
  const slug = target.matches("[data-names-slug]") && target.form.querySelector("[data-slug]");
  if (slug && slug.dataset.slug !== "own") slug.value = slugOf(target.value);
});

function slugOf(name) {
  const plain = name.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  return plain.replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 63).replace(/-+$/, "");
}

// ---- What is asked for only when somebody looks: `data-ask` names the API's path, `data-field` the answer's field

/** What was asked for: each element once, however often the page comes anew, also where there was no answer. */
const asked = new WeakSet();

/** One after the other: a browser has six connections to a server, and each of these may wait for a node. */
let asks = Promise.resolve();

function askNew() {
  for (const note of document.querySelectorAll(".ask-note")) if (!note.parentElement.querySelector("[data-ask]")) note.remove();
  for (const shown of document.querySelectorAll("[data-ask]")) {
    if (asked.has(shown)) continue;
    asked.add(shown);
    asks = asks.then(() => shown.isConnected && ask(shown));
  }
}

async function ask(shown) {
  const { ask: path, field } = shown.dataset;
  // Somebody else was answered meanwhile: the page has it.
  if (!path) return;
  // Of an element that stood here before.
  shown.parentElement.querySelector(".ask-note")?.remove();
  try {
    const answer = await fetch(path);
    const body = await answer.json();
    if (!answer.ok) throw new Error(body.message);
    shown.textContent = body[field];
  } catch (error) {
    if (!shown.dataset.ask) return;
    const note = document.createElement("span");
    note.className = "ask-note";
    note.dataset.kept = "";
    note.textContent = `could not be asked for: ${error.message}`;
    shown.after(" ", note);
  }
}

document.documentElement.dataset.script = "";
for (const log of document.querySelectorAll("[data-events]")) log.scrollTop = log.scrollHeight;
askNew();
keepTimes(document);
setInterval(() => keepTimes(document), 1000);
let watched = 0;
setInterval(() => {
  watched += 1;
  const isDue = watched % REST_WATCH === 0 || main.querySelector("[data-running-since]");
  if (isDue && !document.hidden) changed();
}, WATCH);
follow();
