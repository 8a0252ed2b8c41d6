// Leads from the address to a view: #/runs/ID survives a reload and can be sent to a colleague.

/** The path and the query after the #. */
export function here() {
  const [path, query = ""] = location.hash.replace(/^#/, "").split("?");
  return { segments: path.split("/").filter(Boolean).map(decoded), query: new URLSearchParams(query) };
}

/** The address of a path of segments. */
export const to = (...segments) => `#/${segments.map(encodeURIComponent).join("/")}`;

/** Goes there. */
export const go = (...segments) => {
  location.hash = to(...segments);
};

/** Puts filters into the address without a step in the history. */
export function setQuery(values) {
  const query = new URLSearchParams(Object.entries(values).filter(([, value]) => value));
  const path = location.hash.split("?")[0] || "#/runs";
  history.replaceState(null, "", query.size ? `${path}?${query}` : path);
}

function decoded(segment) {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
