// What there is to know of one span of a run.

import { h } from "./dom.js";
import { clock, count, duration, fullTime, prettyJson, usd } from "./format.js";
import { hintOf } from "./notice.js";

const SHOWN_CHARACTERS = 20_000;

/** Draws a span's details. */
export function spanDetails(span) {
  const { details } = span;
  return [
    h("h2.detail-title", {}, span.name),
    details.error && h("div.problem", {}, h("strong", {}, details.error), details.code && h("code.code", {}, details.code),
      hintOf(details) && h("p", {}, hintOf(details))),
    h("dl.facts", {}, factsOf(span).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    "arguments_json" in details && textBlock("Arguments", prettyJson(details.arguments_json)),
    details.edited_arguments_json && textBlock("Arguments as edited", prettyJson(details.edited_arguments_json)),
    "result" in details && textBlock("Result", typeof details.result === "string" ? details.result : JSON.stringify(details.result, null, 2)),
    details.content && details.content.map(contentBlock),
    details.summary && textBlock("In their place", details.summary),
  ];
}

/** Draws a text with its name; of a very long one the beginning. */
export function textBlock(name, text) {
  const shown = text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}\n… ${count(text.length - SHOWN_CHARACTERS)} more characters` : text;
  return h("section.text-block", {}, h("h3", {}, name), h("pre", { tabindex: "0", "aria-label": name }, shown));
}

function contentBlock(block) {
  if (block.type === "text") return textBlock("Text", block.text ?? "");
  if (block.type === "tool_use") return textBlock(`Asks for ${block.name}`, JSON.stringify(block.input, null, 2));
  if (block.type === "thinking") return textBlock("Thinking", block.thinking ?? "");
  return null;
}

function factsOf(span) {
  const { details } = span;
  const outcome = span.kind === "mark" ? span.outcome : [...new Set([span.status, span.outcome])].filter(Boolean).join(": ");
  const facts = [["Status", outcome], ["Began", clock(span.begun)]];
  if (span.kind !== "mark") facts.push(["Took", span.ended === null ? "goes on" : duration(span.ended - span.begun)]);
  if (span.costNanoUsd) facts.push(["Cost", usd(span.costNanoUsd) + (details.estimated ? " (estimated)" : "")]);
  const numbers = { input_tokens: "Input tokens", output_tokens: "Output tokens", cache_read_input_tokens: "Read from cache",
    cache_creation_input_tokens: "Written to cache", message_count: "Messages left out", estimated_tokens: "Tokens left out, about" };
  for (const [field, name] of Object.entries(numbers)) if (details[field]) facts.push([name, count(details[field])]);
  const texts = { reason: "Why", decision_reason: "Reason given", decided_by: "Decided by", expires_at: "Expires", budget_id: "Budget",
    batch_id: "Batch", model_call_id: "Call", tool_call_id: "Call" };
  for (const [field, name] of Object.entries(texts)) if (details[field]) facts.push([name, field === "expires_at" ? fullTime(Date.parse(details[field])) : String(details[field])]);
  if (details.sent_again) facts.push(["Sent again", "after a recovery, under the same id"]);
  return facts;
}
