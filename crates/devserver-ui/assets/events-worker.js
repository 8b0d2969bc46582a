// One event stream for all tabs. A browser opens at most six connections to a server that speaks HTTP/1.1, so a stream for
// each tab would leave none for anything else. As a shared worker this file holds the stream and hands events on; a page
// of a browser without shared workers imports it and uses `EventStream` itself.
//
// A tab says `{after}`: it is here, and has had every event up to that number; with `again`, that it wants to be told the
// state, too. It says `{bye: true}` when it leaves.
// It is told `{event}`, `{state: "live" | "lost"}`, `{ping: true}` (to be answered by `{after}`), `{gone: true}`: the
// session has ended, and `{reset: true}`: the server's events are others than those that it was told.

/** The pause before a stream that was refused is asked for again, in milliseconds. */
const PAUSE = 1000;

/** How often tabs are asked whether they are still here, in milliseconds, and how often they may leave that unanswered. */
const PING = 20_000;
const MISSED = 3;

/** The events after a number, for as long as they are wanted, whatever happens to the connection. */
export class EventStream {
  #tell;
  #source;
  #at = 0;

  constructor(tell) {
    this.#tell = tell;
  }

  get isOpen() {
    return this.#source !== undefined;
  }

  /** The number up to which every event was told. */
  get at() {
    return this.#at;
  }

  open(after) {
    this.close();
    this.#at = after;
    const source = new EventSource(`/api/events?after=${after}`);
    this.#source = source;
    source.onopen = () => this.#tell({ state: "live" });
    source.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      this.#at = event.seq;
      this.#tell({ event });
    };
    source.addEventListener("reset", ({ data }) => {
      this.#at = JSON.parse(data).last_seq;
      this.#tell({ reset: true });
    });
    source.onerror = () => {
      this.#tell({ state: "lost" });
      // A lost connection the browser makes again by itself; an answer that is no stream it takes as final.
      if (source.readyState === EventSource.CLOSED) this.#wasRefused(source);
    };
  }

  close() {
    this.#source?.close();
    this.#source = undefined;
  }

  async #wasRefused(source) {
    const status = await fetch("/api/session").then((answer) => answer.status, () => undefined);
    if (source !== this.#source) return;
    if (status === 401) {
      this.close();
      this.#tell({ gone: true });
      return;
    }
    setTimeout(() => source === this.#source && this.open(this.#at), PAUSE);
  }
}

/** Serves the tabs of this browser. */
function serve(scope) {
  /** Each tab's port, with how many pings it has not answered. */
  const tabs = new Map();
  /** How many resets there had been when a tab came. One that slept through a reset is told when it wakes. */
  const cameAt = new WeakMap();
  let resets = 0;
  let state;

  const stream = new EventStream((message) => {
    state = message.state ?? state;
    if (message.reset) resets += 1;
    for (const tab of tabs.keys()) tab.postMessage(message);
    // They go to log in now.
    if (message.gone) tabs.clear();
  });

  function isHere(tab, { after, again }) {
    const isNew = !tabs.has(tab);
    tabs.set(tab, 0);
    if (!cameAt.has(tab)) cameAt.set(tab, resets);
    if (cameAt.get(tab) !== resets) tab.postMessage({ reset: true });
    // From the lowest number that anybody needs: tabs leave out what they have had.
    if (!stream.isOpen || (isNew && after < stream.at)) stream.open(after);
    else if (state && (isNew || again)) tab.postMessage({ state });
  }

  function left(tab) {
    tabs.delete(tab);
    if (tabs.size === 0) stream.close();
  }

  scope.onconnect = ({ ports: [tab] }) => {
    tab.onmessage = ({ data }) => (data.bye ? left(tab) : isHere(tab, data));
  };

  // A tab that crashed never says that it leaves. One that only slept answers when it wakes, and is here again.
  setInterval(() => {
    for (const [tab, missed] of tabs) {
      if (missed >= MISSED) {
        left(tab);
      } else {
        tabs.set(tab, missed + 1);
        tab.postMessage({ ping: true });
      }
    }
  }, PING);
}

if (typeof SharedWorkerGlobalScope === "function" && self instanceof SharedWorkerGlobalScope) serve(self);
