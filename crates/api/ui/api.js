// The HTTP API of the agent that served this page: requests, refusals, and reads that wait for a change.

const TOKEN = 'leno-token';
/** How long the agent holds a read that waits; it adds up to a sixteenth. */
const WAIT_S = 55;
const TIMEOUT_MS = 20_000;
const GAP_MIN_MS = 250;
const BACKOFF_MAX_MS = 30_000;

export class ApiError extends Error {
  constructor(method, path, status, text) {
    super(text || `HTTP ${status}`);
    Object.assign(this, { method, path, status, text });
  }

  /** Whether the agent could not be asked, or could not answer: the same may go well later. */
  get isLost() {
    return this.status === 0 || this.status === 429 || (this.status >= 500 && this.status !== 501 && !/datacenter/.test(this.text));
  }

  /** What the token lacks, as in `key:write` on `app/limit`. */
  get lacks() {
    const found = this.status === 403 && /lacks permission '(\w+):(\w+)'(?: on "(.*)")?/.exec(this.text);
    return found ? { resource: found[1], right: found[2], name: found[3] } : null;
  }
}

export function token() {
  try { return sessionStorage.getItem(TOKEN) ?? ''; } catch { return ''; }
}

export function setToken(secret) {
  if (secret) sessionStorage.setItem(TOKEN, secret); else sessionStorage.removeItem(TOKEN);
}

/** A path with its values encoded. */
export function at(texts, ...values) {
  return texts.reduce((path, text, i) => path + encodeSegment(values[i - 1]) + text);
}

function encodeSegment(value) {
  // A browser resolves `.` and `..`, so that the request would be for something else.
  if (value === '.' || value === '..') throw new ApiError('GET', value, 400, `“${value}” cannot stand in a path. Use the command line.`);
  return encodeURIComponent(value);
}

/** A key as a part of a path. */
export function encodeKey(key) {
  // Empty segments would be cleaned away on the way, as `.` and `..` would: such keys go as one segment.
  const isOdd = key.startsWith('/') || /(^|\/)\.{1,2}(\/|$)|\/\//.test(key);
  return isOdd ? encodeSegment(key) : key.split('/').map(encodeURIComponent).join('/');
}

/** Asks; `{data, raw, index}` of a good answer, an `ApiError` for any other. */
export async function request(method, path, { query = {}, body, signal, timeout = TIMEOUT_MS, as = token() } = {}) {
  const parameters = Object.entries(query).filter(([, value]) => value !== undefined);
  const search = new URLSearchParams(parameters.map(([name, value]) => [name, String(value)])).toString();
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), timeout);
  const stop = () => abort.abort();
  signal?.addEventListener('abort', stop);
  if (signal?.aborted) stop();
  try {
    // A redirect would be to another object than the one that was named.
    const options = { method, body, signal: abort.signal, cache: 'no-store', redirect: 'error', headers: as ? { 'X-Consul-Token': as } : {} };
    const response = await fetch(search ? `${path}?${search}` : path, options);
    const raw = await response.text();
    if (!response.ok) {
      const error = new ApiError(method, path, response.status, raw.trim());
      error.index = Number(response.headers.get('X-Consul-Index')) || 0;
      throw error;
    }
    const isJson = (response.headers.get('Content-Type') ?? '').includes('json');
    return { data: isJson && raw ? JSON.parse(raw) : raw, raw, index: Number(response.headers.get('X-Consul-Index')) || 0 };
  } catch (error) {
    if (error instanceof ApiError) throw error;
    if (error instanceof SyntaxError) throw new ApiError(method, path, 502, 'The answer is no JSON. Is there another server between?');
    throw new ApiError(method, path, 0, abort.signal.aborted && !signal?.aborted ? `No answer within ${timeout / 1000} s.` : 'No connection.');
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', stop);
  }
}

export const get = (path, options) => request('GET', path, options);
export const put = (path, options) => request('PUT', path, options);
export const del = (path, options) => request('DELETE', path, options);

/** Like `get`, with `null` for what is not there. */
export async function find(path, options) {
  try {
    return await get(path, options);
  } catch (error) {
    if (error.status !== 404) throw error;
    return { data: null, raw: '', index: error.index };
  }
}

let onConnection = () => {};
const sleepers = new Set();

/** Has `listener` told of each loss of the connection (an `ApiError`) and of its return (`null`). */
export function watchConnection(listener) {
  onConnection = listener;
}

export function retryNow() {
  for (const wake of sleepers) wake();
}

addEventListener('online', retryNow);

/**
 * Reads `path` and hands it to `show`, again with each change, until `signal`. What cannot be mended by trying again goes
 * to `fail`, once, and ends it. Nothing is asked while nobody looks: a browser has only six connections for all its tabs.
 */
export async function watch(path, { query, signal, gap = GAP_MIN_MS }, show, fail) {
  let index = 0;
  let failures = 0;
  while (!signal.aborted) {
    await untilVisible(signal);
    const pause = new AbortController();
    const onChange = () => { if (signal.aborted || document.hidden) pause.abort(); };
    signal.addEventListener('abort', onChange);
    document.addEventListener('visibilitychange', onChange);
    try {
      const waiting = index ? { index, wait: `${WAIT_S}s` } : {};
      const answer = await find(path, { query: { ...query, ...waiting }, signal: pause.signal, timeout: (WAIT_S + 15) * 1000 });
      if (signal.aborted) return;
      await show(answer.data);
      failures = 0;
      onConnection(null);
      // An index that goes back means another store: what was known before says nothing about it.
      const gone = answer.index < index;
      index = gone ? 0 : answer.index;
      await sleep(index || gone ? gap : 10_000, signal);
    } catch (error) {
      if (signal.aborted) return;
      if (pause.signal.aborted) continue;
      if (!error.isLost) return fail(error);
      failures += 1;
      onConnection(error);
      index = 0;
      await sleep(Math.min(1000 * 2 ** (failures - 1), BACKOFF_MAX_MS) * (0.75 + Math.random() / 2), signal);
    } finally {
      signal.removeEventListener('abort', onChange);
      document.removeEventListener('visibilitychange', onChange);
    }
  }
}

function sleep(ms, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      sleepers.delete(done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    sleepers.add(done);
    signal.addEventListener('abort', done);
  });
}

function untilVisible(signal) {
  if (!document.hidden) return undefined;
  return new Promise((resolve) => {
    const done = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener('visibilitychange', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    document.addEventListener('visibilitychange', done);
    signal.addEventListener('abort', done);
  });
}
