// Signs the browser in and out. The session is a cookie that no script can read; all that is kept
// here is when it ends, so that nobody who is signed out is asked for.

import { get, post, remove } from "./api.js";
import { recall, remember } from "./storage.js";

/** Exchanges an API key, or a token, for a session. It is not kept anywhere. */
export async function signIn(key) {
  const session = await post("/api/v1/session", {},
    { headers: { authorization: `Bearer ${key}` }, quiet: true });
  remember("session-ends", session.expires_at);
  return session;
}

/** Ends the session. */
export async function signOut() {
  await remove("/api/v1/session", { quiet: true });
  forget();
}

/** Forgets that there was a session. */
export const forget = () => remember("session-ends", "");

/** Returns who is signed in; null if nobody is, as far as this browser knows. */
export async function caller() {
  if (!(Date.parse(recall("session-ends")) > Date.now())) return null;
  try {
    return await get("/api/v1/caller", {}, { quiet: true });
  } catch (error) {
    if (error.status !== 401) throw error;
    forget();
    return null;
  }
}

/** Whether a caller may do something, for example "run:write". */
export function may(who, permission) {
  const kind = permission.split(":")[0];
  return who.permissions.some((held) => held === "*" || held === permission || held === `${kind}:*`);
}
