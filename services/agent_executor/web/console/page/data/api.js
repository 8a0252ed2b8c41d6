// Calls the REST API under the browser's session, and keeps its own words for errors.

/** An answer that is no success, in the API's words. */
export class ApiError extends Error {
  /**
   * @param {number} status The HTTP status; 0 if there was no answer.
   * @param {string} code A name of ErrorReason.
   * @param {string} message A sentence for a person.
   */
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

let serverSentAt = 0;

/** The server's time when it answered last, in milliseconds; 0 if it has not. */
export const serverTime = () => serverSentAt;

let whenSignedOut = () => {};

/** Says what is done when the session has ended. */
export function onSignedOut(listener) {
  whenSignedOut = listener;
}

export const get = (path, query, options) => call("GET", path + queryOf(query), undefined, options);
export const post = (path, body, options) => call("POST", path, body ?? {}, options);
export const remove = (path, options) => call("DELETE", path, undefined, options);

/** Puts an id into a path. */
export const segment = (id) => encodeURIComponent(id);

/**
 * Calls the API and returns the answer's JSON.
 * @throws {ApiError}
 */
export async function call(method, path, body, { signal, headers, quiet = false } = {}) {
  const response = await answered(method, path, body, { signal, headers });
  if (response.ok) return response.json();
  const error = await errorOf(response);
  if (error.status === 401 && !quiet) whenSignedOut(error);
  throw error;
}

/** Sends a request and returns the answer, whatever its status. */
export async function answered(method, path, body, { signal, headers } = {}) {
  try {
    const response = await fetch(path, {
      method,
      signal,
      credentials: "same-origin",
      cache: "no-store",
      redirect: "error",
      headers: { ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    serverSentAt = Date.parse(response.headers.get("date")) || serverSentAt;
    return response;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "UNAVAILABLE", "The gateway does not answer.");
  }
}

/** Reads what an answer says went wrong. */
export async function errorOf(response) {
  try {
    const { code, error } = await response.json();
    return new ApiError(response.status, code, error);
  } catch {
    return new ApiError(response.status, "INTERNAL", `The gateway answered ${response.status}.`);
  }
}

/** Returns every item of a list, page by page, at most so many. */
export async function all(path, field, { query = {}, most = 1000, signal } = {}) {
  const items = [];
  let token = "";
  do {
    const size = Math.min(1000, most - items.length);
    const page = await get(path, { ...query, page_size: size, page_token: token }, { signal });
    items.push(...page[field]);
    token = page.next_page_token;
  } while (token && items.length < most);
  return items;
}

function queryOf(query = {}) {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === "" || value === undefined || value === null) continue;
    for (const each of [value].flat()) given.append(name, String(each));
  }
  const text = given.toString();
  return text && `?${text}`;
}
