// Reads a stream of server-sent events. EventSource would hide why a stream was refused.

import { answered, errorOf } from "./api.js";

/**
 * Yields the events of a stream as objects until it ends.
 * @throws {ApiError} It was refused, or broke off.
 */
export async function* serverSentEvents(path, { signal } = {}) {
  const response = await answered("GET", path, undefined,
    { signal, headers: { accept: "text/event-stream" } });
  if (!response.ok) throw await errorOf(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const data = block.split("\n").filter((line) => line.startsWith("data: "));
      if (data.length) yield JSON.parse(data.map((line) => line.slice(6)).join("\n"));
    }
  }
}
